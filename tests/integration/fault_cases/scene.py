"""One guest on a Stage, a good Full of it, and what must hold after whatever happens to it."""

import contextlib

from harness.disk import MIB, SECTOR, Disk, ext2, make_image, tmpfs
from harness.gate import Gate
from harness.history import History, sequences
from harness.monitor import Monitor
from harness.preload import BrokenStorage
from harness.pace import Stopwatch, patient
from harness.process import PATIENCE, Failure, wait_until
from harness.served_disk import ServedDisk, Server
from harness.watched_guest import WatchedGuest

from .guest_judge import GuestJudge

CLUSTER = 64 * 1024
SIZE = 16 * MIB


class Scene:
    """A guest of two disks on a Stage, and its Job resource.

    style and fmt are those of the disk "first", werror is that of both; writes_on is the disk to
    which the guest itself writes all the time; parameters go into the Plugin line, and limit, in
    seconds, as timeout=: a good dump has to end within that.  With
    gated the plugin meets a monitor that can misbehave, with working=SIZE the job works on
    a small file system of its own (linked: through a link; reservable=False: one that can keep
    no room for a file), with served its first disk is another process', with breakable="QEMU" the
    storage of its dumps can break under QEMU.  other is a Stage whose Bacula saves the guest
    as well, and whose jobs can have the same numbers.
    """

    program = "qemu-system-x86_64"
    transfer = "dump"  # unless the parameters say something else

    def __init__(self, stage, folder, parameters="", gated=False, style="slow", fmt="qcow2",
                 working=None, linked=False, breakable=None, other=None, limit=None, werror="",
                 writes_on="first", served=False, reservable=True):
        self.stage = stage
        self.bacula = stage.bacula
        self.folder = folder
        self.full = None
        self.striker = None
        self.held_by_plugin = False
        self.stopped = False  # QEMU, by a signal
        self.jobid = None
        self.server = None  # of the first disk
        self.second = None  # another job on the guest, or on another
        self.neighbour_judge = None  # of that other guest
        self.others = set()  # names of such jobs, whose bitmaps may be there
        self.other_client = None
        self.working = self.working_link = None
        self.limit = limit and patient(limit)
        self.target_storage = BrokenStorage(folder) if breakable == "QEMU" else None
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            opened.callback(stage.reset)
            disks = self._make_disks(style, fmt)
            if served:
                disks[0] = self._serve(opened, disks[0])
            self.guest = self._make_guest(opened, disks, werror, writes_on)
            self.gate = self._make_gate(opened) if gated else None
            if working:
                parameters += f" working={self._make_working(opened, working, linked, reservable)}"
            self._stack = opened.pop_all()
        if "transfer=" not in parameters:
            parameters += f" transfer={self.transfer}"
        if limit:
            parameters += f" timeout={self.limit}"
        monitor = self.gate.path if self.gate else self.guest.qmp_socket
        self.line = f"qemu: qmpcontrol={monitor} {parameters}".rstrip()
        self.job = stage.add_job(self.line)
        self.history = History(self.bacula, self.guest, folder, self.job)
        self.other = self._make_other(other) if other else None
        self.guest_judge = GuestJudge(self.guest)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _make_guest(self, opened, disks, werror, writes_on):
        program = self.program
        for disk in disks:
            disk.werror = werror
        if self.target_storage:
            program = self.target_storage.wrapper(program)
        guest = WatchedGuest(self.folder / "vm", disks, writes_on, name="vm", binary=program)
        opened.callback(guest.close)
        guest.start()
        return guest

    def _make_disks(self, style, fmt):
        first = make_image(self.folder / f"first.{fmt}", SIZE, fmt, seed=1, density=0.05)
        second = make_image(self.folder / "second.raw", SIZE, "raw", seed=2, density=0.05)
        return [Disk("first", first, fmt, style=style),
                Disk("second", second, "raw", style="blockdev")]

    def _make_gate(self, opened):
        gate = Gate(self.guest.qmp_socket.with_name("gate"), self.guest.qmp_socket)
        opened.callback(gate.close)
        return gate

    def _serve(self, opened, disk):
        self.server = Server(self.folder, disk.path, room=0 if disk.fmt == "raw" else 2 * SIZE)
        opened.callback(self.server.close)
        served = ServedDisk(disk.name, disk.path, disk.fmt, style="slow")
        served.server = self.server
        return served

    def _make_working(self, opened, size, linked, reservable):
        make = tmpfs if reservable else ext2
        self.working = opened.enter_context(make(self.folder / "working", size))
        if not linked:
            return self.working
        self.working_link = self.folder / "link"
        self.working_link.symlink_to(self.working)
        return self.working_link

    def _make_other(self, stage):
        """Its next job has a number below all that this Bacula's jobs get."""
        folder = self.folder / "other"
        folder.mkdir()
        last = max(each.catalog.last_job() for each in (self.bacula, stage.bacula))
        self.bacula.catalog.set_next_job(last + 100)
        return History(stage.bacula, self.guest, folder, stage.add_job(self.line, "other"))

    def add_neighbour(self, size):
        """Another guest, with one disk that is full; it writes to it as well."""
        folder = self.folder / "neighbour"
        folder.mkdir()
        image = make_image(folder / "disk.raw", size, "raw", seed=3, density=1)
        guest = WatchedGuest(folder, [Disk("disk", image, "raw", style="blockdev")], "disk", name="two")
        self._stack.callback(guest.close)
        guest.start()
        return guest

    # What the guest does

    def slow_down(self, rate=0):
        """Let the first disk give so many bytes a second, if QEMU can be told so."""
        with contextlib.suppress(Failure):
            if not self.stopped:
                self.guest.slow_down("first", rate)

    def resume(self):
        """Let a paused guest run: QEMU then closes what it kept (before 9.1)."""
        self.guest.cont()
        Monitor(self.guest.qmp_socket).close()

    def start(self):
        """Take the good Full that the next jobs are based on."""
        self.guest_judge.note()
        self.full = self.history.backup("Full")
        assert self.full.ok, self.full.log

    def write_much(self, *disks):
        """Make every other cluster dirty: QEMU reads 64 places at a time."""
        for disk in disks:
            for offset in range(0, SIZE, 2 * CLUSTER):
                self.guest.write(disk, 1 + offset // CLUSTER % 255, offset, SECTOR)

    def write_little(self, seed):
        """A few writes on every disk."""
        for disk in self.guest.disks:
            self.guest.random_writes(disk, 3, seed)

    # Jobs

    def run(self, level="Incremental"):
        """Start a job of what the disks hold now; its id."""
        self.history.note_contents()
        self.jobid = self.bacula.run(self.job, level, wait=False)
        return self.jobid

    def wait(self, jobid, bound, reported=True):
        """The job's end within so many seconds, and how long that took."""
        with Stopwatch() as watch:
            result = self.bacula.wait(jobid, max(bound, PATIENCE), reported)
        assert watch.seconds <= bound, f"{watch.elapsed:.1f} s, alone {watch.seconds:.1f}, not {bound}"
        return result, watch.elapsed

    # What must hold

    def leftovers(self):
        """What no job may leave in the daemon's working directory."""
        return self.stage.leftovers()

    def has_noticed_cancel(self):
        """Whether the plugin waits for nothing any more, or (where others wait) has tidied up.

        A File Daemon of 9.6 may then take ten seconds before it lets the job end.
        """
        if not self.leftovers() or not self.held_by_plugin:
            return not self.leftovers()
        dumps = [job for job in self.guest.qmp("query-jobs") if job["status"] == "running"]
        return not dumps and not self.stage.tool.is_held()

    def jobs_with_bitmaps(self, disk):
        """Whose bitmaps and witnesses the disk has."""
        return {name.split(":")[-1] for name in self.guest.bitmaps(disk)}

    def assert_bitmaps(self, result, catalog_knows=True):
        """A job's bitmap outlives it only where every byte of its dump went out.

        The catalog does not know what a job saved whose Director was killed.
        """
        saved = sequences(self.bacula, result) if result.status in "TW" else {}
        if not catalog_knows:
            saved = self.guest.disks
        for disk in self.guest.disks:
            here = self.jobs_with_bitmaps(disk)
            assert here <= {self.full.name, result.name} | self.others, here
            assert result.name not in here or disk in saved, (
                f"{disk} was not saved by {result.name}, whose bitmap stays"
            )

    def assert_folder_is_clean(self, patience=PATIENCE):
        """Nothing of any job in the working directory."""
        def left():
            own = list(self.working.iterdir()) if self.working else []
            return [*self.stage.leftovers(), *own]

        wait_until(lambda: not left(), patience, "an empty working directory")

    def assert_next_job(self, before):
        """The guest still writes; the next Incremental is good, restores, and cleans up."""
        self.write_little(seed=7)
        after = self.history.backup()
        assert after.ok, after.log
        for disk in self.guest.disks:
            here = self.jobs_with_bitmaps(disk)
            kept = {before.name} if before.status in "TW" else set()
            assert here <= {self.full.name, after.name} | kept | self.others, here
        self.history.assert_restores()
        self.assert_folder_is_clean()
        return after
