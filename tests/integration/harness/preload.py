"""Small libraries that are preloaded into a daemon to have it meet with something."""

from pathlib import Path

from .process import run

_HERE = Path(__file__).parent


def build(name, folder):
    """Compile NAME.c of this folder; path of the library."""
    library = Path(folder) / f"{name}.so"
    run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, _HERE / f"{name}.c", "-ldl"])
    return library


class ShiftedClock:
    """The clocks of a daemon, which a test sets back (that of the day) or forward (the other)."""

    def __init__(self, folder):
        self._library = build("shifted_clock", folder)
        self._file = Path(folder) / "shift"
        self._of_day = self._leapt = 0
        self._write()

    @property
    def environment(self):
        """For the daemon."""
        return {"LD_PRELOAD": str(self._library), "SHIFTED_CLOCK": str(self._file)}

    def set(self, seconds):
        """From now on the time of day is so many seconds later (or, negative, earlier)."""
        self._of_day = seconds
        self._write()

    def leap(self, seconds):
        """Let so many seconds pass at once on the clock that nobody can set, for good."""
        self._leapt += seconds
        self._write()

    def _write(self):
        """At once: a daemon that found half of it would see its clock go back."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._of_day} {self._leapt}\n")
        new.rename(self._file)


class BrokenStorage:
    """Storage below a job's folder that breaks when a test says so."""

    def __init__(self, folder):
        self._library = build("broken_storage", folder)
        self._switch = Path(folder) / "broken"

    @property
    def environment(self):
        """For the process whose storage breaks."""
        return {"LD_PRELOAD": str(self._library), "BROKEN_STORAGE": str(self._switch)}

    def wrapper(self, program):
        """A program that starts another one on this storage; its path."""
        script = self._library.with_name("on-broken-storage")
        words = " ".join(f"{name}={value}" for name, value in self.environment.items())
        script.write_text(f'#!/bin/sh\nexec env {words} {program} "$@"\n')
        script.chmod(0o755)
        return script

    def fail(self):
        """Let every access fail."""
        self._switch.touch()

    def mend(self):
        """Let all of them work again."""
        self._switch.unlink(missing_ok=True)
