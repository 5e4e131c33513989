"""Backups of one guest, and what its disks held at each of them."""

import re
import time

from .disk import assert_same
from .process import PATIENCE, wait_until

_RESTORES_AT_ONCE = 3

# Behind a guest's name, of a QEMU as old as the machine's own.
NOT_STREAMED = "is dumped, not streamed: QEMU is too old for it, 9.1 is the first that can"


class History:
    """Runs one Job resource on one guest and knows what each job must restore."""

    def __init__(self, bacula, guest, folder, job="VM"):
        self.bacula = bacula
        self.guest = guest
        self.folder = folder
        self.job = job
        self.chain = []  # the JobResults that a restore takes now
        self.contents = {}  # disk -> copy of what it held at the newest job
        self._restores = []  # (job id, directory, contents) of those that run

    def backup(self, level="Incremental", status="T"):
        """Run a job on a guest that nobody writes to meanwhile; check what it leaves."""
        self.note_contents()
        result = self.bacula.run(self.job, level)
        assert result.status == status, result.log
        return self.take(result)

    def note_contents(self):
        """Remember what the disks hold now."""
        self.contents = {
            name: self.guest.snapshot(name)
            for name, disk in self.guest.disks.items()
            if not disk.readonly
        }

    def take(self, result):
        """Let a good job be part of the chain; fail if it left something."""
        kept = {"F": "", "D": "F", "I": "FDI"}[result.level]
        self.chain = [job for job in self.chain if job.level in kept] + [result]
        self.assert_nothing_left(result.jobid)
        return result

    def assert_nothing_left(self, jobid=""):
        """Neither in QEMU nor (by any job, or by this one) in the working directory."""
        self.guest.assert_clean()

        def clean():
            left = self.bacula.fd_leftovers()
            return not any(f"qemu-fd-{jobid}" in str(path) for path in left)

        # The Director calls a cancelled job ended before the File Daemon has.
        wait_until(clean, PATIENCE, "a clean working directory")

    @property
    def jobids(self):
        """What a restore of the newest state takes."""
        return [job.jobid for job in self.chain]

    def start_restore(self):
        """Restore the newest state to a directory while the test goes on; see finish."""
        where = self.folder / f"restored-{self.job}-{self.jobids[-1]}"
        jobid = self.bacula.restore(self.jobids, where, wait=False)
        self._restores.append((jobid, where, self.contents))
        if len(self._restores) > _RESTORES_AT_ONCE:
            self._finish_oldest()
        return where

    def finish(self):
        """Wait for all restores, compare every disk, find nothing left behind."""
        while self._restores:
            self._finish_oldest()
        self.assert_nothing_left()

    def assert_restores(self):
        """Restore the newest state and compare it now; return the directory."""
        where = self.start_restore()
        self.finish()
        return where

    def assert_same(self, where, contents=None):
        """Compare every disk in a directory with what it held at the newest job."""
        for name, content in (contents or self.contents).items():
            assert_same(content, self.image(where, name))

    def image(self, where, disk):
        """Where a restore to a directory puts a disk."""
        return where / "@qemu" / self.guest.name / str(self.guest.vmid) / f"{disk}.qcow2"

    def _finish_oldest(self):
        jobid, where, contents = self._restores.pop(0)
        restored = self.bacula.wait(jobid)
        assert restored.ok, restored.log
        self.assert_same(where, contents)


def await_next_second():
    """Bacula orders jobs by whole seconds; Bacula.run waits by itself."""
    time.sleep(1 - time.time() % 1)


def sequences(bacula, result):
    """Disk -> delta_seq of what a job saved."""
    return {
        match[1]: file.delta_seq
        for file in bacula.list_files(result.jobid)
        if file.file_index > 0 and (match := re.search(r"([^/]*)\.qcow2$", file.path))
    }


def sizes(bacula, result):
    """Disk -> size in the catalog of what a job saved."""
    return {
        match[1]: file.size
        for file in bacula.list_files(result.jobid)
        if file.file_index > 0 and (match := re.search(r"([^/]*)\.qcow2$", file.path))
    }


def dumped(result):
    """Disk -> (level used, why it is full instead or "", bytes) from the job's log."""
    line = (
        r"qemu: (?:Dumped|Streamed|Read) [^/]*/(\S+): (\w+)(?: instead of \w+ \((.*)\))?, (\d+) bytes in \d+ seconds"
    )
    return {
        disk: (level, why, int(count))
        for disk, level, why, count in re.findall(line, result.log)
    }


def wait_for_dump(guest, jobid, share=0.1, timeout=PATIENCE):
    """Wait until QEMU has dumped all but a slow disk, and a share of that; most must be left.

    Of a guest that streams, until it can be read: its QEMU jobs copy nothing of their own accord.
    """

    def progress():
        exports = guest.qmp("query-block-exports")
        if any(export["id"].startswith(f"bacula-{jobid}-") for export in exports):
            return 0.5
        jobs = [job for job in guest.qmp("query-jobs") if job["id"].startswith(f"bacula-{jobid}-")]
        running = [job for job in jobs if job["status"] != "concluded"]
        if len(running) != 1 or running[0]["status"] != "running":
            return None
        done, total = running[0]["current-progress"], running[0]["total-progress"]
        return done and done >= share * total and done / total

    assert wait_until(progress, timeout, "a dump to be half-way", interval=0.02) < 0.8
