"""build/fd-host: one plugin in any interface version, without a Bacula."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import sanitizer
from .process import PATIENCE, spawn, stop
from .tree import paths_below

FINDING = 9
_BUILD = Path(__file__).resolve().parents[3] / "build"
_FLAVOUR = "asan" if sanitizer.ACTIVE else ""
_SANITIZERS = {
    "ASAN_OPTIONS": f"detect_leaks=1:exitcode={FINDING}",
    "TSAN_OPTIONS": f"exitcode={FINDING}",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


@dataclass(frozen=True)
class HostRun:
    """How a run of fd-host ended."""

    code: int
    log: str


class FdHost:
    """Drives fd-host for one guest's jobs; archives lie in a folder of its own.

    flavour is "", "asan" or "tsan": which build of fd-host and the plugin.  A
    finding of a sanitizer ends fd-host with FINDING.
    """

    def __init__(self, folder, interface, flavour=_FLAVOUR, wrapper=(), env=None, timeout=PATIENCE):
        self.folder = Path(folder)
        self.working = self.folder / "working"
        self.working.mkdir(parents=True, mode=0o700)
        build = _BUILD / flavour
        self._argv = [*wrapper, build / "fd-host", f"--interface={interface}"]
        self._argv += [f"--plugin={build / 'qemu-fd.so'}", f"--working={self.working}"]
        self._env = {**os.environ, **_SANITIZERS, **(env or {})}
        self._timeout = timeout
        self._jobs = 0
        self._runs = 0

    # Jobs: lists of arguments for run(), which takes several

    def backup(self, name, line, level="F", previous="", options=()):
        """A backup that goes into the archive of that name."""
        return self._job(
            "backup", line, f"--job={name}", f"--level={level}", f"--previous={previous}",
            f"--archive={self.archive(name)}", *options,
        )  # fmt: skip

    def restore(self, names, where="/", options=()):
        """A restore of those archives."""
        archives = [f"--archive={self.archive(name)}" for name in names]
        return self._job("restore", None, "--job=Restore", f"--where={where}", *archives, *options)

    def estimate(self, line, level="F", previous=""):
        """What the console's estimate and, with listing=, .ls do."""
        return self._job("estimate", line, f"--level={level}", f"--previous={previous}", jobid=0)

    def query(self, line, parameter):
        """What the console's .query does."""
        return self._job("query", line, f"--parameter={parameter}", jobid=0)

    def archive(self, name):
        """Folder of a saved job."""
        return self.folder / name

    def saved(self, name):
        """The files and objects of a saved job, by name."""
        manifest = json.loads((self.archive(name) / "manifest.json").read_text())
        return {file["name"]: file for file in manifest["files"]}

    # Running

    def run(self, *jobs, options=(), env=None):
        """Run jobs in one fd-host, one after another unless --parallel."""
        arguments = [*self._argv, *options]
        for index, job in enumerate(jobs):
            arguments += [*(["+"] if index else []), *job]
        self._runs += 1
        log = self.folder / f"run-{self._runs}.log"
        process = spawn(arguments, log, env={**self._env, **(env or {})})
        try:
            code = process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            stop(process)
        return HostRun(code, log.read_text(errors="replace"))

    def leftovers(self):
        """What is left in the working directory."""
        return paths_below(self.working)

    def _job(self, command, line, *options, jobid=None):
        if jobid is None:
            self._jobs += 1
            jobid = self._jobs
        lines = [] if line is None else [line]
        return [f"--jobid={jobid}", *options, command, *lines]
