"""bconsole, spoken to over its standard input and output."""

import contextlib
import os
import re
import select
import subprocess
import time

from .process import Failure

_END = "--- no more input ---"


class Console:
    """One bconsole session in which each answer may depend on the last prompt.

    Batch commands would not need this; the restore dialogues do, because their
    menus are numbered differently from version to version.
    """

    def __init__(self, argv, env, timeout):
        self.transcript = ""
        self.seen = 0
        self._deadline = time.monotonic() + timeout
        self._process = subprocess.Popen(
            [str(argument) for argument in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()

    def send(self, line):
        """Type one line (or several)."""
        self.transcript += f"«{line}»\n"
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"bconsole went away:\n{self.transcript}") from None

    def expect(self, *patterns):
        """Read until one of the patterns appears; return its match.

        Only text that no earlier expect has consumed is looked at.
        """
        pattern = re.compile("|".join(f"(?:{each})" for each in patterns))
        while True:
            match = pattern.search(self.transcript, self.seen)
            if match:
                self.seen = match.end()
                return match
            if not self._read():
                raise Failure(f"no {patterns} from bconsole:\n{self.transcript}")

    def finish(self):
        """Close the input, as a script's end does, and return the transcript.

        The end is what bconsole itself echoes and not its own end: 15.0.3 tells its
        watchdog thread to stop before that waits to be told, now and then, and then
        joins it for the minute of the thread's next look.
        """
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"@echo {_END}\n".encode())
            self._process.stdin.close()
        while f"{_END} \n" not in self.transcript and self._read():
            pass
        self.transcript = self.transcript.partition(f"@echo {_END}")[0]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        return self.transcript

    def _read(self):
        """Append what bconsole printed; False at its end."""
        remaining = max(0, self._deadline - time.monotonic())
        ready, _, _ = select.select([self._process.stdout], [], [], remaining)
        if not ready:
            raise Failure(f"bconsole is silent or too slow:\n{self.transcript}")
        text = os.read(self._process.stdout.fileno(), 65536)
        self.transcript += text.decode(errors="replace")
        return bool(text)
