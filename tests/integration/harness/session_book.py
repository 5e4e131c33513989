"""The sessions that the documentation shows: recorded, compared, written.

What bconsole says is kept word for word, but for what differs from run to run:
moments, ports and paths are replaced by the same ones always (moments by one, but
for those that a session tells apart: SessionBook.moments), and of a job log
only what the plugin says, the first line and the end of the report are kept.
Sizes and counters are kept as recorded, and not compared.
"""

import difflib
import os
import re
from pathlib import Path

SESSIONS = Path(__file__).resolve().parents[3] / "docs" / "sessions"
RECORD = "DOCS_RECORD"  # in the environment: write the sessions instead of comparing them

_MOMENTS = (
    (r"\bqemu-fd-(\d+)-([0-9a-f]{8}-){4}\d+-\d+-\w{6}\b", r"qemu-fd-\1-…-XXXXXX"),
    (r"\b20\d\d-\d\d-\d\d_\d\d\.\d\d\.\d\d_\d\d\b", "2026-11-23_01.05.00_07"),
    (r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b", "2026-11-23 01:05:00"),
    (r"\b\d\d-\w{3}-20\d\d \d\d:\d\d:\d\d\b", "23-Nov-2026 01:05:00"),
    (r"\b\d\d-\w{3}-\d\d \d\d:\d\d\b", "23-Nov-26 01:05"),
    (r"^\d\d-\w{3} \d\d:\d\d ", "23-Nov 01:05 "),
    (r"\b([0-9a-f]{16})\.[0-9a-f]{16}:", r"\1.146d9cf6e553008f:"),  # a hash of such a moment
    (r"\.restore\.\d+\.bsr", ".restore.1.bsr"),
    (r"Plugin: qemu\([\d.]+\)", "Plugin: qemu(…)"),
    (r"\b(bacula-\d+-\d+)-\w{6}\b", r"\1-XXXXXX"),
    (r"running kernel: [^)]*", "running kernel: 6.8.12-4-pve"),
)
_NOT_COMPARED = (
    (r"\b[\d,]+ bytes\b", "N bytes"),
    (r"\bin \d+ seconds\b", "in N seconds"),
    (r"\bbytes=[\d,]+", "bytes=N"),
    (r"^(.{10} +1 root +root) +\d+ ", r"\1 N "),
    (r"\b[\d,]+ \([\d.]+ ?[KMG]?B\)", "N"),
    (r"\((\d+) of \d+ bytes\)", r"(\1)"),
    (r"debian [\d.]+", "debian"),
    (r"(\| )\d{4,} +(?=\|)", r"\1N "),
    (r"^\+[-+]+\+$", "+"),
    (r"#block\d+", "#block"),
)
# Of the report at a job's end.
_KEPT = r"  (Backup Level|FD Errors|Non-fatal FD errors|Termination):"
_LOGGED = r"\d\d-\w{3} \d\d:\d\d \S+ JobId"
_REPORT = r"  \w[\w /()-]*: "


def _prompted(command):
    return lambda match: f"{match[1]}\n*{command}" if match[1] else f"*{command}"


def plain(transcript, commands):
    """What a user sees of a Console's transcript who types these commands."""
    text = re.sub(r"«[^»]*»\n", "", transcript)
    text = text.partition("Enter a period to cancel a command.\n")[2]
    for command in commands:
        # An answer need not end in a line feed: that of .query does not.
        text = re.sub(rf"^(.*[\]}}])?{re.escape(command)}$", _prompted(command), text, count=1,
                      flags=re.M)
    return text


def _says_nothing(line):
    """Whether a line is of the daemons' own affairs, which come as they please."""
    if not re.match(_LOGGED, line):
        return line == "You have messages."
    return not re.search(r"qemu: | Start |: (Error: )?Bacula ", line)


def _shortened(lines):
    """Without what the daemons say of themselves, and with a … for the report's lines."""
    kept = []
    for line in lines:
        if _says_nothing(line):
            continue
        if re.match(_REPORT, line) and not re.match(_KEPT, line):
            line = "  …"
        last = kept[-1] if kept else ""
        if (line.strip() or last) and not line == last == "  …":
            kept.append(line.rstrip())
    return kept


class User:
    """Types into bconsole, with the documentation's names for what the harness has."""

    def __init__(self, bacula, book):
        self.bacula = bacula
        self.book = book

    def type(self, name, *commands):
        """Commands one after another; the session's text."""
        text = self.bacula.console("\n".join(self._here(command) for command in commands))
        return self._take(name, text, commands)

    def dialogue(self, name, command, answer, *more):
        """A command that asks, the function that answers it, and commands behind it."""
        with self.bacula.dialogue() as console:
            console.send(self._here(command))
            answer(console)
            console.send("yes")
            console.expect(r"Job queued\. JobId=\d+")
            for line in more:
                console.send(line)
            text = console.finish()
        return self._take(name, text, (command, *more))

    def _here(self, command):
        for here, there in self.book.shown.items():
            command = command.replace(there, str(here))
        return command

    def _take(self, name, text, commands):
        return self.book.note(name, plain(text, [self._here(command) for command in commands]))


class SessionBook:
    """Takes sessions down; `shown` are pairs (what it is here, what the documentation says).

    `moments` are such pairs too, of seconds that must be different from all others.
    """

    def __init__(self, shown):
        self.shown = dict(shown)
        self.moments = {}
        self.sessions = {}

    def note(self, name, text):
        """One session, as `plain` gives it; the text that the documentation gets."""
        for here, there in sorted(self.shown.items(), key=lambda pair: -len(str(pair[0]))):
            text = text.replace(str(here), str(there))
        for number, here in enumerate(self.moments):
            text = text.replace(here, f"«moment {number}»")
        for pattern, instead in _MOMENTS:
            text = re.sub(pattern, instead, text, flags=re.M)
        for number, there in enumerate(self.moments.values()):
            text = text.replace(f"«moment {number}»", there)
        self.sessions[name] = "\n".join(_shortened(text.splitlines())).strip("\n") + "\n"
        return self.sessions[name]

    def close(self):
        """Fail when the documentation says something else, or write it anew."""
        if os.environ.get(RECORD):
            SESSIONS.mkdir(exist_ok=True)
            for name, text in self.sessions.items():
                _path(name).write_text(text)
            return
        drift = [line for name, text in self.sessions.items() for line in _difference(name, text)]
        assert not drift, f"docs/sessions is not what happens (make sessions):\n{''.join(drift)}"


def _path(name):
    return SESSIONS / f"{name}.txt"


def _compared(text):
    for pattern, instead in _NOT_COMPARED:
        text = re.sub(pattern, instead, text, flags=re.M)
    return text.splitlines(keepends=True)


def _difference(name, text):
    recorded = _path(name).read_text() if _path(name).exists() else ""
    return difflib.unified_diff(_compared(recorded), _compared(text), f"{name}, recorded",
                                f"{name}, now")
