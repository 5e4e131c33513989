"""What the demo shows: quiet colours on a terminal, plain lines when piped."""

import os
import re
import shutil
import sys
import time
from textwrap import fill

_MIB = 1024 * 1024
_WIDTH = 88

# Of a job's log: what the plugin and the job itself say.  Bacula's talk about
# connections and volumes is left out, and of its report all but these lines.
_TOLD = re.compile(r"qemu: |Start |Error|error|Warning|Fatal|Cancel")
_REPORTED = re.compile(r"\s+(Backup Level|FD Bytes Written|Bytes Restored|Termination):")
_PREFIX = re.compile(r"^\S+ JobId \d+: ")


def mib(count):
    """Bytes as a person reads them."""
    size = count / _MIB
    return f"{size:.1f} MiB" if size < 10 else f"{size:,.0f} MiB"


class Screen:
    """Standard output, one thing after another."""

    def __init__(self, whole_logs=False):
        self._whole_logs = whole_logs
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._terminal and "NO_COLOR" not in os.environ
        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        self._tick, self._bar, self._rule = ("✓", "│", "─") if unicode else ("ok", "|", "-")
        self._step = 0
        self._progress = ""

    def title(self, text):
        """The first line."""
        self._print(self._in("1", text))

    def chapter(self, text):
        """A part of the demo, whose steps are counted from 1 again."""
        self._step = 0
        self._print("")
        self._print(self._in("1", text) + " " + self._in("2", self._rule * (_WIDTH - len(text) - 1)))

    def step(self, text):
        """What happens next."""
        self._step += 1
        self._print("")
        self._print(self._in("1", f"{self._step}  {text}"))

    def say(self, text):
        """Plain words."""
        self._print(fill(text, _WIDTH, initial_indent="   ", subsequent_indent="   "))

    def shown(self, text):
        """Something that has been checked and holds."""
        indent = " " * (len(self._tick) + 4)
        lines = fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
        self._print("   " + self._in("32", self._tick) + lines[len(indent) - 1 :])

    def failed(self, text):
        """Why the demo ends early."""
        self._print("")
        self._print(self._in("1;31", text))

    def log(self, text):
        """Lines of a job's log."""
        for line in text.splitlines():
            told = _TOLD.search(line) if _PREFIX.match(line) else _REPORTED.match(line)
            if line.strip() and (told or self._whole_logs):
                words = _PREFIX.sub("", line) if _PREFIX.match(line) else line.strip()
                words = re.sub(r":\s{2,}", ": ", words)
                style = "36" if words.startswith("qemu: ") else "2"
                self._print(f"   {self._in('2', self._bar)} {self._in(style, words)}")

    def table(self, heads, rows):
        """Columns below their heads; the first one is left-aligned."""
        widths = [max(map(len, column)) for column in zip(heads, *rows)]
        for number, row in enumerate([heads, *rows]):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            self._print("   " + self._in("2" if number == 0 else "", "   ".join(cells)))

    def progress(self, text):
        """A line that the next one replaces; nothing when piped."""
        if not self._terminal or text == self._progress:
            return
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write("\r\033[K" + self._in("2", f"   {text}"[:width]))
        sys.stdout.flush()
        self._progress = text

    def _print(self, text):
        if self._progress:
            sys.stdout.write("\r\033[K")
            self._progress = ""
        print(text, flush=True)

    def _in(self, style, text):
        return f"\033[{style}m{text}\033[0m" if self._colours and style else text


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self._begun = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self._begun
