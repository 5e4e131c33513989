"""What a Job resource's jobs saved, as a model: what a restore must give, whose bitmaps may be there."""

import re
import shutil
from dataclasses import dataclass

from harness.disk import assert_same
from harness.history import sequences

_KEPT = {"F": "", "D": "F", "I": "FDI"}  # levels that a restore still needs before such a job
# Its own, its base's, that of the Full behind it, and the one before its own; and of
# lineages before that Full (chain_keep.h, CHAIN_OTHERS_LIMIT).
_MOST_BITMAPS = 4 + 12


@dataclass(frozen=True, eq=False)
class Saved:
    """A job that the Director calls good, with warnings or without."""

    result: object
    contents: dict  # disk -> copy of what it held at the job
    listed: frozenset  # disks of which the catalog has a part, whole or not
    described: bool  # its config.json was saved, which says what a restore of it needs
    finished: frozenset  # disks of which every byte was saved


@dataclass(frozen=True)
class Restorable:
    """A chain in which nothing is missing, as a RestoreScene takes it."""

    guest: object
    jobids: list
    contents: dict
    has_increment: bool  # its restore patches the first disk


class Chronicle:
    """The good jobs of one Job resource.

    A job that ended with warnings may have lost a disk, and the Director names it as a base
    nevertheless.
    """

    def __init__(self, history):
        self.history = history
        self.jobs = []  # those in the catalog, back to the Full before the last
        self.compared = 0
        self._finished = {}  # name of any good job -> disks that it saved, also when deleted since
        self._excused = set()  # failed jobs whose bitmaps nobody could remove
        self._tidy = False  # the last job could remove what is not needed

    def take(self, result, reachable=True):
        """Note a job that has ended well, and that history.contents is what it found.

        reachable says whether it could tidy up in QEMU at its end.
        """
        finished = frozenset(re.findall(r"qemu: Finish backup of vm/(\S+)", result.log))
        files = self.history.bacula.list_files(result.jobid)
        described = any(file.path.endswith("/config.json") for file in files)
        listed = frozenset(sequences(self.history.bacula, result))
        assert finished <= listed and (described or not listed), result.log
        self.jobs.append(Saved(result, self.history.contents, listed, described, finished))
        self._finished[result.name] = finished
        if result.ok:
            assert finished == frozenset(self.history.guest.disks), result.log
        self._tidy = result.ok and reachable
        self._forget()

    def excuse(self, result):
        """Note a job that failed when its bitmaps could not be removed.

        The Director never names it.  They go when they are no longer among the newest two.
        """
        assert result.status not in "TW"
        self._excused.add(result.name)
        self._tidy = False

    def drop_newest(self):
        """Let the newest job leave the catalog; None if no Full would remain."""
        if not any(job.result.level == "F" for job in self.jobs[:-1]):
            return None
        job = self.jobs.pop()
        _remove_copies(job)
        return job.result

    def chain(self):
        """The jobs that a restore of the newest state takes."""
        chain = []
        for job in self.jobs:
            kept = _KEPT[job.result.level]
            chain = [before for before in chain if before.result.level in kept] + [job]
        return chain

    def restorable(self):
        """The newest state, None where its job lost something."""
        chain = self.chain()
        if not chain or chain[-1].finished != frozenset(self.history.guest.disks):
            return None
        newest = chain[-1]
        parts = sequences(self.history.bacula, newest.result)
        return Restorable(self.history.guest, [job.result.jobid for job in chain],
                          newest.contents, parts["first"] > 0)

    def assert_restores(self):
        """Restore the newest state: every disk is as it was at the last job that saved the guest.

        A disk that this job lost must be missed aloud when there are older parts of it (one
        without any may not have been selected), and no image be there.
        """
        chain = self.chain()
        described = [job for job in chain if job.described]
        if not described:
            return
        last = described[-1]
        where = self.history.folder / f"restored-{chain[-1].result.jobid}"
        restored = self.history.bacula.restore([job.result.jobid for job in chain], where)
        listed = frozenset().union(*(job.listed for job in chain))
        assert restored.ok == (last.finished == listed), restored.log
        for disk in self.history.guest.disks:
            image = self.history.image(where, disk)
            assert image.exists() == (disk in last.finished), restored.log
            if disk in last.finished:
                assert_same(last.contents[disk], image)
                self.compared += 1
        shutil.rmtree(where)

    def assert_bitmaps(self, disk, names):
        """Of this Job resource's jobs, only those that saved the disk have a bitmap there."""
        own = {name for name in names if name.startswith(f"{self.history.job}.")}
        for name in own - self._excused:
            assert disk in self._finished.get(name, ()), (
                f"{disk} was not saved by {name}, whose bitmap stays"
            )
        assert not self._tidy or len(own) <= _MOST_BITMAPS, own

    def _forget(self):
        """The copies of what no restore will need take room."""
        fulls = [place for place, job in enumerate(self.jobs) if job.result.level == "F"]
        first = fulls[-2] if len(fulls) > 1 else 0
        for job in self.jobs[:first]:
            _remove_copies(job)
        self.jobs = self.jobs[first:]


def _remove_copies(job):
    for copy in job.contents.values():
        copy.unlink(missing_ok=True)
