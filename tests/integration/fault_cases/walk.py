"""A random walk: guests that write, jobs of every level and faults, as a plan says (walk_plan.py)."""

import contextlib
import re
import shutil
import time
from collections import Counter
from dataclasses import replace

from harness.disk import MIB
from harness.history import History, sequences
from harness.process import PATIENCE, wait_until

from . import cells, faults, guest_faults, moments, restore_moments
from .chronicle import Chronicle
from .judge import assert_end
from .moments import Moment, dump_that_is_read
from .restore_scene import RestoreScene
from .restore_strike import strike_restore
from .stream_moments import HELD_BY_PLUGIN
from .walk_plan import RESTORE_CELLS, STREAM, VICTIMS

_NOT_YET = 1 << 60

# Moments in dumps whose sizes nobody knows beforehand


def _reading(number, disk):
    """As moments.FIRST and SECOND, whatever else has to be dumped."""

    def reach(scene, start):
        scene.write_little(3)
        scene.write_much(disk)
        scene.stage.tool.hold("check", "*/0.qcow2")
        scene.stage.link.hold(_NOT_YET)
        jobid = start(scene)
        scene.stage.tool.wait_held(60)
        scene.stage.link.hold_at(_middle(scene, jobid, number))
        scene.stage.tool.release("check")
        scene.stage.link.wait_held(60)
        name = wait_until(lambda: dump_that_is_read(scene.bacula, jobid), PATIENCE, "a dump that is read")
        assert name == f"{number}.qcow2"
        return jobid

    return reach


def _middle(scene, jobid, number):
    """Which byte of the job's is half-way through that dump."""
    def running():
        return [job for job in scene.guest.qmp("query-jobs")
                if job["id"].startswith(f"bacula-{jobid}-") and job["status"] != "concluded"]

    wait_until(lambda: not running(), PATIENCE, "all dumps")
    dumps = [next(scene.working.glob(f"**/qemu-fd-{jobid}-*/{name}.qcow2")).stat().st_size
             for name in range(number + 1)]
    return sum(dumps[:number]) + dumps[number] * 2 // 5


_ANY_SIZE = {
    moments.FIRST: Moment(moments.FIRST.name, _reading(0, "first"), moments.FIRST.leave),
    moments.SECOND: Moment(moments.SECOND.name, _reading(1, "second"), moments.SECOND.leave),
}


# The walk


class Walk:
    """Takes the steps of a plan and looks after each whether all is as it must be."""

    def __init__(self, scene, say):
        self.scene = scene
        self.guest = scene.guest
        self.bacula = scene.bacula
        self.judge = scene.guest_judge
        self.judge.note()
        self.dirty = False  # something of a job may be left until the next one
        self.jobs = Counter()  # by status
        self.faults = Counter()  # by name
        self.restore_faults = Counter()
        self._say = say
        here = scene.line.replace(scene.gate.path, str(self.guest.qmp_socket))
        direct = here.replace(f" timeout={scene.limit}", "")
        self._lines = {"A": direct, "B": direct, "C": scene.line}
        self.bacula.fileset_lines = ["Ignore FileSet Changes = yes"]
        names = {"A": scene.stage.add_job(direct, "A"), "B": scene.stage.add_job(direct, "B"),
                 "C": scene.job}
        self.chronicles = {
            job: Chronicle(History(self.bacula, self.guest, scene.folder, name))
            for job, name in names.items()
        }

    def take(self, steps):
        """Take the steps; what fails is that of the last one named."""
        begun = time.monotonic()
        for number, step in enumerate(steps, 1):
            started = time.monotonic()
            self._say(f"step {number}: {step.text}")
            step.act(self)
            self._assert_invariants()
            self._say(f"    done in {time.monotonic() - started:.1f} s")
        self.judge.assert_speed()
        self._say(f"{len(steps)} steps in {time.monotonic() - begun:.0f} s, jobs {dict(self.jobs)}, "
                  f"{self.compared} restored disks compared")
        self._say(f"{self.faults.total()} faults: {dict(self.faults)}")
        self._say(f"{self.restore_faults.total()} in restores: {dict(self.restore_faults)}")

    @property
    def compared(self):
        """Restored disks that were compared so far."""
        return sum(chronicle.compared for chronicle in self.chronicles.values())

    # Steps

    def kill_guest(self):
        """What QEMU has not flushed would be lost with it, and the shadows have it."""
        for disk in self.guest.disks:
            self.guest.flush(disk)
        self.guest.kill()

    def good_job(self, job, level, transfer, seed):
        """A job that nothing happens to."""
        self.scene.seed = seed
        self._let_transfer(job, transfer)
        self.scene.write_little(seed)
        result = self.bacula.wait(self._start(job, level))
        assert result.ok, result.log
        self._take(job, result)

    def faulty_job(self, cell, job, level, seed):
        """A job that meets with a fault."""
        scene = self.scene
        scene.seed, scene.striker = seed, None
        streams = cell in STREAM
        cell = self._ours(cell)
        if streams and not scene.can_stream:
            self._say("    no QEMU that can stream")
            return
        self._let_transfer(job, "stream" if streams else "dump")
        scene.held_by_plugin = cell.moment in (*moments.HELD_BY_PLUGIN, *HELD_BY_PLUGIN)
        jobid = cells.reach(cell, scene, lambda _: self._start(job, level))
        cell.moment.leave(scene)
        alone = cell.fault.victim == faults.VICTIM_DIRECTOR
        result, _ = scene.wait(jobid, cell.bound, reported=not alone)
        if scene.striker:
            scene.striker.finish()
        self._say(f"    job {jobid} ended {result.status}")
        shared = [name for name, disk in self.guest.disks.items() if disk.shared]
        assert_end(cell, result, self.bacula.version, shared)
        cell.fault.heal(scene)
        if cell.fault.halts or cell.fault.harms:
            self.judge.excuse()
        if alone or cell.ends == cells.CANCELLED:
            scene.assert_folder_is_clean(120)  # the File Daemon has it a little longer
        assert self.bacula.fd_lives()
        self.faults[cell.fault.name] += 1
        self.dirty = self.dirty or cell.fault.victim in VICTIMS
        self._take(job, result, cell.fault.victim)

    def two_jobs(self, first, second, levels, seed):
        """The second is told whose turn it is, and fails, since it saved nothing."""
        self.scene.seed = seed
        self._let_transfer(first, "dump")
        jobid = moments.DUMPING.reach(self.scene, lambda _: self._start(first, levels[0]))
        refused = self.bacula.wait(self._start(second, levels[1]))
        assert refused.status == "f", refused.log
        assert f'guest "vm": Bacula job {jobid} is backing it up right now' in refused.log
        moments.DUMPING.leave(self.scene)
        result = self.bacula.wait(jobid)
        assert result.ok, result.log
        self._take(second, refused)
        self._take(first, result)

    def delete_job(self, job):
        """The Director names an older one as the base of the next."""
        gone = self.chronicles[job].drop_newest()
        if gone:
            self.bacula.delete_job(gone.jobid)
        self._say(f"    job {gone.jobid} deleted" if gone else "    none that the Full could spare")

    def struck_restore(self, fault, moment, jobs):
        """A restore of the newest state that meets with a fault, and the next one to the same place."""
        saved = next(filter(None, (self.chronicles[job].restorable() for job in jobs)), None)
        if not saved:
            self._say("    no job has saved all")
            return
        if not saved.has_increment:
            moment = restore_moments.CHECKING
        folder = self.scene.folder / "struck"
        folder.mkdir()
        with RestoreScene(self.scene.stage, saved, folder) as scene:
            result = strike_restore(RESTORE_CELLS[fault][moment], scene, any_parts=True)
        shutil.rmtree(folder)
        self._say(f"    restore {result.jobid} of {len(saved.jobids)} jobs, {moment.name}, "
                  f"ended {result.status}")
        self.restore_faults[fault.name] += 1

    # Inside

    @staticmethod
    def _ours(cell):
        """The cell as this scene can have it."""
        fault = cell.fault
        says = cell.says
        if fault is faults.QEMU_KILLED:
            fault = replace(fault, strike=lambda scene, _: _flush_and_kill(scene))
        if fault is faults.DISK_ERROR:  # the walk's fragile disk is another
            says = tuple(text.replace('"first"', '"second"') for text in says)
        if fault.victim == faults.VICTIM_QEMU:  # which disk meets with it hangs on what was written
            says = tuple(re.sub(r'", disk "\w+": ', '".*', text) for text in says)
        if fault is guest_faults.SOURCE_STALLED:  # and the guest writes to that disk
            fault = replace(fault, halts=True)
        if fault is faults.TIMEOUT:
            fault = replace(fault, strike=_outlast)
        return replace(cell, fault=fault, says=says,
                       moment=_ANY_SIZE.get(cell.moment, cell.moment))

    def _let_transfer(self, job, how):
        """Whatever it was before: one chain may hold both."""
        name = self.chronicles[job].history.job
        filesets = self.bacula.filesets
        line = self._lines[job].replace("transfer=dump", f"transfer={how if self.scene.can_stream else 'dump'}")
        if filesets[name][0] != line:
            self.bacula.filesets = {**filesets, name: [line, *filesets[name][1:]]}
            self.bacula.reload()

    def _start(self, job, level):
        history = self.chronicles[job].history
        history.note_contents()
        self.scene.jobid = self.bacula.run(history.job, level, wait=False)
        return self.scene.jobid

    def _take(self, job, result, victim=""):
        """A job has ended, and the victim may not have been in reach: what it saved restores."""
        self.jobs[result.status] += 1
        chronicle = self.chronicles[job]
        if result.status not in "TW":
            for copy in chronicle.history.contents.values():
                copy.unlink()
            if victim:
                chronicle.excuse(result)
            return
        if self.guest.disks["second"].shared:
            assert sequences(self.bacula, result).get("second", 0) == 0, "an increment of a shared disk"
        chronicle.take(result, reachable=not victim)
        if result.ok and not victim:
            self.dirty = False
        chronicle.assert_restores()

    def _assert_invariants(self):
        self.judge.assert_unharmed()
        if not self.dirty:
            self.guest.assert_clean()
            self.scene.assert_folder_is_clean()
        for disk in self.guest.disks:
            names = self.scene.jobs_with_bitmaps(disk)
            for chronicle in self.chronicles.values():
                chronicle.assert_bitmaps(disk, names)


def _flush_and_kill(scene):
    for disk in scene.guest.disks:
        scene.guest.flush(disk)
    scene.guest.kill()


def _outlast(scene, jobid):
    """So slow that no dump ends before the limit; what QEMU has begun then has to end."""
    scene.slow_down(MIB // 64)
    time.sleep(scene.limit + 1)
    scene.slow_down()
    faults.TIMEOUT.strike(scene, jobid)


@contextlib.contextmanager
def logged(path, heading):
    """A function that writes lines into a file and onto standard output."""
    with path.open("w") as log:
        def say(line):
            print(line, flush=True)
            log.write(f"{line}\n")
            log.flush()

        say(heading)
        yield say
