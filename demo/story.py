"""What the demo does with one Bacula: a guest, its backups, its restores."""

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.bacula import Bacula
from harness.catalog import FINAL_STATUS
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image
from harness.guest import Guest
from harness.history import dumped
from harness.process import Failure, wait_until
from harness.tree import paths_below
from screen import Stopwatch, mib

_GUEST = "web"
_SIZE = {"system": 512 * MIB, "data": 256 * MIB}
_JOB_LIMIT = 300  # seconds
_WRITES = 60  # into each disk, between two jobs
_BURST = 16  # into each disk, again and again while it is read, …
_ENOUGH = 64  # … until there were so many: a Differential is to be smaller than the Full
_BRISK = 40 * MIB  # bytes a second, so that the guest can write while it is read
_SLOW = 12 * MIB  # the same, while a job is cancelled
_LOST = 36 * MIB  # what the guest writes before it
_KINDS = {"F": "Full", "I": "Incremental", "D": "Differential"}


@dataclass
class Numbers:
    """What was measured with one Bacula."""

    version: str
    jobs: list = field(default_factory=list)  # (name, bytes, seconds)
    streams: bool = False  # how its disks come to Bacula
    aside: dict = field(default_factory=dict)  # name of a job -> bytes in the working directory
    writes_during_full: int = 0
    images: int = 0
    compared: int = 0


class Story:
    """One guest and one Bacula, from the first Full to the last comparison."""

    def __init__(self, root, plugin, folder, screen, stack, program):
        self._folder = folder
        self._screen = screen
        self._version = root.name
        self._jobs = {}  # name of a job -> (JobResult, what the disks held)
        self._seed = 0
        self._expected = 0  # bytes that the job which runs will save, about
        self._aside = 0  # the most that it has put aside so far
        self.numbers = Numbers(self._version)
        self._guest = self._start_guest(stack, program)
        self._bacula = self._start_bacula(root, plugin, stack)

    def tell(self):
        """All steps; a Failure or AssertionError when something does not hold."""
        self._full()
        self._incremental("Incremental 1", "Incremental: only what the guest changed")
        self._cancelled()
        self._other_job()
        self._incremental("Incremental 2", "Incremental, as if nothing had happened")
        self._differential()
        self._restores()

    # The steps

    def _start_guest(self, stack, program):
        self._screen.step("A running guest with two disks")
        self._screen.progress("making two disk images")
        system = make_image(self._folder / "system.qcow2", _SIZE["system"], density=0.15, seed=1)
        data = make_image(self._folder / "data.raw", _SIZE["data"], "raw", density=0.2, seed=2)
        # slow: its reads can be slowed down, so that there is time to cancel.
        disks = [Disk("system", system, style="slow"), Disk("data", data, "raw")]
        self._screen.progress("starting QEMU")
        guest = stack.enter_context(Guest(self._folder / "guest", _GUEST, disks, binary=program))
        for disk in disks:
            used = disk.path.stat().st_blocks * SECTOR
            self._screen.say(
                f"{disk.name:7} {disk.fmt:6} {mib(_SIZE[disk.name])}, {mib(used)} of it used"
            )
        version = guest.qmp("query-version")["qemu"]
        number = f"{version['major']}.{version['minor']}.{version['micro']}"
        self._screen.shown(f'QEMU {number} runs guest "{_GUEST}" as process {guest.pid}')
        self.numbers.streams = all(
            guest.takes(*gate)
            for gate in (
                ("blockdev-backup", "discard-source"),
                ("nbd-server-start", "handshake-max-seconds"),
            )
        )
        return guest

    def _start_bacula(self, root, plugin, stack):
        self._screen.progress(f"starting Bacula {self._version}")
        plugin_line = f"qemu: qmpcontrol={self._guest.qmp_socket} transfer=auto"
        bacula = Bacula(
            root,
            self._folder / "bacula",
            plugin=plugin,
            filesets={_GUEST: [plugin_line]},
            jobs={"nightly": _GUEST, "offsite": _GUEST},
        )
        stack.enter_context(bacula)
        ports = ", ".join(str(port) for port in bacula.ports.values())
        self._screen.shown(f"Bacula {self._version} listens on 127.0.0.1, ports {ports}")
        self._screen.say(f'its FileSet: Plugin = "{plugin_line}"')
        return bacula

    def _full(self):
        self._screen.step("Full, while the guest goes on writing")
        self._guest.slow_down("system", _BRISK)
        self._expected = sum(disk.path.stat().st_blocks for disk in self._guest.disks.values()) * SECTOR
        self._backup("Full", meanwhile=self._write_meanwhile)
        self._guest.slow_down("system")
        count = self.numbers.writes_during_full
        if not count:
            raise Failure("the disks were read before the guest could write")
        self._screen.say(
            f"While it was read, the guest wrote {count} times. The backup must hold none of that:"
            " all disks as they were at one moment."
        )

    def _incremental(self, name, title):
        self._screen.step(title)
        self._write()
        self._backup(name)

    def _cancelled(self):
        self._screen.step("An Incremental that is cancelled half-way")
        self._guest.write("system", 0x5A, 300 * MIB, _LOST)
        self._guest.slow_down("system", _SLOW)
        self._screen.say(
            f"The guest writes {mib(_LOST)}; its disk is slowed to {mib(_SLOW)} a second, so the job"
            f" would take {_LOST // _SLOW} seconds."
        )
        self._expected = _LOST
        jobid = self._bacula.run("nightly", "Incremental", wait=False)
        result = self._follow(jobid, self._cancel_half_way)
        self._guest.slow_down("system")
        if result.status != "A":
            raise Failure(f"the job was to be cancelled, it ended as {result.status}")
        self._assert_nothing_left()
        self._screen.shown("it is gone, and left nothing in QEMU or in the working directory")

    def _other_job(self):
        self._screen.step("A Full of the same guest by another Job")
        self._backup("Full of another Job", job="offsite")

    def _differential(self):
        self._screen.step("Differential: what changed since the Full")
        self._write()
        self._backup("Differential")

    def _restores(self):
        self._screen.step("Restores, compared with what the disks held at that moment")
        self._screen.say(
            "At every job a copy of what the disks held was kept, made from the guest's own writes."
        )
        self._restore("Full")
        self._restore("Full", "Incremental 1", "Incremental 2")
        self._restore("Full", "Differential")
        self._restore("Full of another Job")
        self._assert_nothing_left()

    # Backup

    def _backup(self, name, job="nightly", meanwhile=None):
        """Run a job and keep what the disks hold at its beginning."""
        self._screen.progress("noting what the disks hold")
        contents = {disk: self._guest.snapshot(disk) for disk in self._guest.disks}
        level = name.split()[0]
        watch = Stopwatch()
        result = self._follow(self._bacula.run(job, level, wait=False), meanwhile)
        seconds = watch.seconds
        if not result.ok or _KINDS[result.level] != level:
            raise Failure(f"{name} ended as {result.status}, level {result.level}")
        for disk, (used, why, _) in dumped(result).items():
            if used != level:
                raise Failure(f"disk {disk} was dumped {used}: {why}")
        if len(dumped(result)) != len(contents):
            raise Failure(f"{name} dumped {len(dumped(result))} of {len(contents)} disks")
        if level != "Full" and result.bytes >= self._jobs["Full"][0].bytes:
            raise Failure(f"{name} saved as much as the Full")
        self._assert_nothing_left()
        self._jobs[name] = (result, contents)
        self.numbers.jobs.append((name, result.bytes, seconds))
        self.numbers.aside[name] = self._aside
        self._screen.shown(
            f"{mib(result.bytes)} saved in {seconds:.1f} seconds; {mib(self._aside)} put aside at most"
        )

    def _write(self):
        """Let the guest write at random places of both disks."""
        for disk in self._guest.disks:
            self._screen.progress(f"the guest writes to {disk}")
            self._seed += 1
            self._guest.random_writes(disk, _WRITES, self._seed)
        self._screen.say(f"The guest writes {_WRITES} times at random places of each disk.")

    def _write_meanwhile(self, progress):
        if progress is None or progress >= 1 or self.numbers.writes_during_full >= _ENOUGH:
            return
        for disk in self._guest.disks:
            self._seed += 1
            self._guest.random_writes(disk, _BURST, self._seed)
            self.numbers.writes_during_full += _BURST

    def _cancel_half_way(self, progress):
        if progress is not None and 0.4 <= progress < 1:
            self._bacula.console("cancel all yes")

    def _assert_nothing_left(self):
        """Neither in QEMU nor in the working directory.

        The Director calls a cancelled job ended before the File Daemon is done:
        9.6.7 looks after its heartbeat for ten seconds more.
        """
        self._screen.progress("waiting up to 30 s for the File Daemon to clean up")
        wait_until(lambda: not self._bacula.fd_leftovers(), 30, "an empty working directory")
        self._guest.assert_clean()

    # Restore

    def _restore(self, *names):
        where = self._folder / "restored"
        jobs = [self._jobs[name] for name in names]
        watch = Stopwatch()
        jobids = [result.jobid for result, _ in jobs]
        result = self._follow(self._bacula.restore(jobids, where, wait=False))
        seconds = watch.seconds
        if not result.ok:
            raise Failure(f"the restore ended as {result.status}")
        self.numbers.jobs.append((f"Restore: {names[-1]}", result.bytes, seconds))
        size = 0
        for disk, content in jobs[-1][1].items():
            self._screen.progress(f"comparing {disk}")
            assert_same(content, where / "@qemu" / _GUEST / "0" / f"{disk}.qcow2")
            size += content.stat().st_size
            content.unlink()
            self.numbers.images += 1
        self.numbers.compared += size
        shutil.rmtree(where)
        self._screen.shown(
            f"{' + '.join(names)}: restored in {seconds:.1f} seconds; both disks are identical,"
            f" byte for byte ({mib(size)} compared)"
        )

    # Watching a job

    def _follow(self, jobid, meanwhile=None):
        """Show a job's log as it grows until the job has ended; its JobResult."""
        watch, told, begun = Stopwatch(), "", self._in_volumes()
        self._aside = 0
        while watch.seconds < _JOB_LIMIT:
            row = self._bacula.catalog.job(jobid)
            told = self._show_new(jobid, told)
            if row and row.status in FINAL_STATUS:
                result = self._bacula.wait(jobid, timeout=60)
                self._show_new(jobid, told)
                return result
            progress = self._progress(begun)
            self._aside = max(self._aside, self._put_aside())
            way = "streams" if self.numbers.streams else "dumps"
            work = "working" if progress is None else f"QEMU {way}, {progress:.0%}"
            self._screen.progress(f"{work}, {watch.seconds:.0f} s")
            if meanwhile:
                meanwhile(progress)
            time.sleep(0.05)
        raise Failure(f"job {jobid} has not ended after {_JOB_LIMIT} seconds")

    def _show_new(self, jobid, told):
        """Show what came to the log; it comes in whole lines."""
        log = self._bacula.joblog(jobid)
        self._screen.log(log[len(told) :])
        return log

    def _progress(self, begun):
        """The share that is done, or None when QEMU does nothing for a backup."""
        jobs = [job for job in self._guest.qmp("query-jobs") if job["type"] == "backup"]
        if jobs and self.numbers.streams:  # QEMU does not know how far Bacula is
            return min(0.99, (self._in_volumes() - begun) / max(1, self._expected))
        total = sum(job["total-progress"] for job in jobs)
        return sum(job["current-progress"] for job in jobs) / total if total else None

    def _in_volumes(self):
        return sum(path.stat().st_size for path in (self._folder / "bacula/volumes").iterdir())

    def _put_aside(self):
        """Bytes in the working directory: files there, and those without a name that QEMU writes."""
        sizes = {}
        opened = Path(f"/proc/{self._guest.pid}/fd")
        for path in [*paths_below(self._bacula.fd_working), *opened.iterdir()]:
            with contextlib.suppress(OSError):  # it is closed or removed meanwhile
                name = os.readlink(path) if path.parent == opened else str(path)
                if "/qemu-fd-" in name and name.removesuffix(" (deleted)").endswith(".qcow2"):
                    status = path.stat()
                    sizes[status.st_ino] = status.st_size
        return sum(sizes.values())
