"""A saved guest that is restored again and again, and what must hold after each restore."""

import contextlib
import os
import random
import shutil
from pathlib import Path

from harness import restored
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image, tmpfs
from harness.guest import Guest
from harness.history import History, sizes
from harness.image_tool import is_tool, server_of
from harness.pace import Stopwatch
from harness.process import PATIENCE, Failure, run, wait_until
from harness.tree import paths_below

from .scene import CLUSTER

SIZE = 8 * MIB

_NAMES = [f"@qemu/vm/0/{name}" for name in ("config.json", "first.qcow2", "second.qcow2")]


class Saved:
    """A guest with a Full and two Incrementals of several MiB on a Stage; it does not run."""

    def __init__(self, stage):
        self.bacula = stage.bacula
        self.folder = stage.folder / "saved"
        self.images = self.folder / "images"
        self.images.mkdir(parents=True)
        disks = [
            Disk("first", _full_image(self.images / "first.qcow2", "qcow2", 1)),
            Disk("second", _full_image(self.images / "second.raw", "raw", 2), "raw"),
        ]
        self.guest = Guest(self.folder / "vm", name="vm", disks=disks)
        try:
            self.guest.start()
            job = stage.add_job(f"qemu: qmpcontrol={self.guest.qmp_socket}", "saved", last=False)
            self.history = History(self.bacula, self.guest, self.folder, job)
            self._back_up()
            self.guest.quit()
        except BaseException:
            self.guest.close()
            raise
        self._old = [self._keep_old(disk) for disk in disks]

    def _back_up(self):
        assert self.history.backup("Full").ok
        for number in (1, 2):
            for disk in self.guest.disks:
                for offset in range(number * CLUSTER, SIZE, 2 * CLUSTER):
                    self.guest.write(disk, number, offset, SECTOR)
            assert self.history.backup("Incremental").ok

    def close(self):
        """End what may still run."""
        self.guest.close()

    @property
    def jobids(self):
        """The whole chain."""
        return self.history.jobids

    @property
    def contents(self):
        """What every disk held at the newest job."""
        return self.history.contents

    def _keep_old(self, disk):
        """Another state of the disk, which a restore replaces or leaves alone."""
        old = make_image(self.folder / f"old-{disk.path.name}", SIZE, disk.fmt, 9, density=0.1)
        content = self.folder / f"{disk.name}.old.raw"
        run(["qemu-img", "convert", "-f", disk.fmt, "-O", "raw", old, content])
        return disk, old, content

    def put_old_images(self):
        """Nothing but these in the folder of the originals."""
        for entry in self.images.iterdir():
            (shutil.rmtree if entry.is_dir() and not entry.is_symlink() else os.unlink)(entry)
        for disk, old, _ in self._old:
            shutil.copy(old, disk.path)

    def assert_old_or_new(self):
        """Every original is as it was, or wholly converted; the disks that are converted."""
        converted = set()
        for disk, _, content in self._old:
            try:
                assert_same(content, disk.path, disk.fmt)
            except AssertionError:
                assert_same(self.contents[disk.name], disk.path, disk.fmt)
                converted.add(disk.name)
        return converted

    def bytes_on_the_way(self, number):
        """(bytes that come before the first disk's part of that number, those of the part).

        Bacula compresses what its daemons send each other: of a dump that is what is random
        in it, three quarters of the disk in the Full and half of that in an Incremental.
        """
        parts = [SIZE * 3 // 4, SIZE * 3 // 8, SIZE * 3 // 8]
        return len(self.guest.disks) * sum(parts[:number]), parts[number]

    def size(self, number, disk):
        """Size of a part, as the catalog has it."""
        return sizes(self.bacula, self.history.chain[number])[disk]


class RestoreScene:
    """One place to restore to.

    With original the disks go back to the guest's own files (convdestination=yes), else to a
    directory: with small a file system of that size, of its own, and with linked a link to
    the directory.  With small and original both the working directory and the folder of the
    originals are such file systems; and without direct there is no qemu-nbd, so that they are put
    together in the working directory and converted.
    """

    def __init__(self, stage, saved, folder, original=False, small=None, linked=False, direct=False):
        self.stage = stage
        self.bacula = stage.bacula
        self.saved = saved
        self.folder = folder
        self.original = original
        self.striker = None
        self.held_by_plugin = False
        self.second = None  # another restore to the same place
        self._started = []
        self.tool_pid = None  # of a qemu-img that was held, or a qemu-nbd that was at work
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.link = None
        with contextlib.ExitStack() as opened:
            opened.callback(self._await_all)
            opened.callback(stage.reset)
            if original:
                if not direct:
                    stage.tool.uninstall_server()
                self._prepare_original(opened, small)
            else:
                self._prepare_directory(opened, small, linked)
            self._stack = opened.pop_all()

    def _prepare_original(self, opened, small):
        opened.callback(self.saved.guest.close_process)
        self.destination = self.saved.images
        self.working = None
        if self.bacula.version != "9.6.7":  # loses options, depending on how long the path is
            self.working = self.folder / "working"
        if small:
            opened.enter_context(tmpfs(self.working, 2 * small))
            opened.enter_context(_mounted_over(self.destination, small))
        elif self.working:
            self.working.mkdir()
        self.saved.put_old_images()

    def _prepare_directory(self, opened, small, linked):
        self.working = None
        self.destination = self.where = self.folder / "restored"
        if small:
            opened.enter_context(tmpfs(self.destination, small))
        if linked:
            self.destination.mkdir()
            self.link = self.where = self.folder / "link"
            self.link.symlink_to(self.destination)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    # Jobs

    def start(self):
        """Start a restore of the newest state; its job id."""
        options = {}
        if self.original:
            options = {"convdestination": "yes"}
        if self.working:
            options["working"] = str(self.working)
        where = "/" if self.original else self.where
        jobid = self.bacula.restore(self.saved.jobids, where, plugin_options=options, wait=False)
        self._started.append(jobid)
        return jobid

    def _await_all(self):
        """Let no job of a scene that failed go on into the next one."""
        for jobid in self._started:
            with contextlib.suppress(Failure):
                self.bacula.wait(jobid, PATIENCE, reported=False)

    def wait(self, jobid, bound, reported=True):
        """The job's end within so many seconds, and how long that took."""
        with Stopwatch() as watch:
            result = self.bacula.wait(jobid, max(bound, PATIENCE), reported)
        assert watch.seconds <= bound, f"{watch.elapsed:.1f} s, alone {watch.seconds:.1f}, not {bound}"
        return result, watch.elapsed

    # What lies there

    def folders(self, jobid=""):
        """Folders of restores that are at work, or were killed."""
        found = []
        for place in filter(None, (self.destination, self.working)):
            found += place.glob(f"qemu-fd-{jobid}*")
        return found

    def leftovers(self):
        """What no restore may leave."""
        left = [path for path in self.stage.leftovers() if "qemu-fd-" in str(path)]
        for place in filter(None, (self.destination, self.working)):
            left += [path for path in paths_below(place) if "qemu-fd-" in str(path)
                     or path.suffix == ".part"]
        return left

    def has_noticed_cancel(self):
        """Whether all is over."""
        return not self.leftovers()

    def part(self, jobid, name):
        """Bytes of an unfinished file of the job that came until now."""
        for folder in self.folders(f"{jobid}-"):
            with contextlib.suppress(FileNotFoundError):
                return (folder / name).stat().st_size
        return 0

    def server(self, jobid):
        """The job's qemu-nbd of the first disk, if one runs."""
        mine = [folder for folder in self.folders(f"{jobid}-") if any(folder.glob("0.*"))]
        found = filter(None, map(server_of, mine))
        return next(found, None)

    # What must hold

    def assert_no_false_image(self):
        """What has its final name is whole, and has the content of the newest job."""
        if not self.destination.exists():
            return
        if self.original:
            self.saved.assert_old_or_new()
            return
        for name, content in self.saved.contents.items():
            image = restored.image(self.destination, name)
            if image.exists():
                assert_same(content, image)
        named = {Path(name) for name in _NAMES} | {Path("filler")}
        for name in restored.files(self.destination):
            assert Path(name) in named or "qemu-fd-" in name, f"{name} was left"

    def assert_nothing_left(self):
        """No file of the job but those that it was to bring."""
        wait_until(lambda: not self.leftovers(), PATIENCE, "a destination without unfinished files")

    def assert_nothing_runs(self):
        """No qemu-img or qemu-nbd of the job, which a killed File Daemon takes along; nothing went elsewhere.

        Where the user's own where= leads elsewhere meanwhile, empty folders may be made there.
        """
        if self.tool_pid:
            wait_until(lambda: not is_tool(self.tool_pid), PATIENCE, "the job's qemu-img to end")
        there = [path for path in self.elsewhere.rglob("*") if not (self.link and path.is_dir())]
        assert there == [], "something was put elsewhere"

    def assert_next_restore(self):
        """The same chain to the same place: byte for byte, and nothing beside it."""
        result = self.bacula.wait(self.start())
        assert result.ok, result.log
        if self.original:
            for disk in self.saved.guest.disks.values():
                assert_same(self.saved.contents[disk.name], disk.path, disk.fmt)
            assert sorted(os.listdir(self.destination)) == ["first.qcow2", "second.raw"]
            assert not self.working or restored.files(self.working) == []
        else:
            restored.assert_restored(self.saved.contents, self.destination)
            assert restored.files(self.destination) == _NAMES
        assert self.leftovers() == []


def _full_image(path, fmt, seed):
    """An image whose content cannot be compressed on the way, and whose last quarter is empty.

    An Incremental that writes there makes the image longer that it is patched into.
    """
    raw = path.with_suffix(".content")
    raw.write_bytes(random.Random(seed).randbytes(SIZE * 3 // 4))
    os.truncate(raw, SIZE)
    run(["qemu-img", "convert", "-f", "raw", "-O", fmt, raw, path])
    raw.unlink()
    return path


@contextlib.contextmanager
def _mounted_over(folder, size):
    """A small file system over a folder that exists."""
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder])
    try:
        yield
    finally:
        run(["umount", folder])


def fill(folder):
    """Leave no room on a small file system."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", 0) as filler:
        while filler.write(bytes(4096)):
            pass


def empty(folder):
    """Remove all that is in it."""
    for entry in folder.iterdir():
        (shutil.rmtree if entry.is_dir() and not entry.is_symlink() else os.unlink)(entry)


def quietly_quit(guest):
    """End a guest that may be gone."""
    with contextlib.suppress(Failure, AttributeError):
        guest.quit()


SMALL = 64 * MIB
