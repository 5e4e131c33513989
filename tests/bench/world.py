"""Where one figure is measured: a Bacula, some guests and plain files on one disk."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from harness.bacula import Bacula
from harness.disk import Disk
from harness.guest import Guest
from harness.process import Failure, run

import content

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
_DROP = Path("/proc/sys/vm/drop_caches")
_TICK = os.sysconf("SC_CLK_TCK")
_LIMIT = 900  # seconds for one job


def drops_caches():
    """Whether this machine lets us start with nothing in its page cache."""
    return os.access(_DROP, os.W_OK)


def caches():
    """In words for the report."""
    if drops_caches():
        return "written back (sync) and dropped before every job that is timed, on both sides"
    return "written back (sync) and then warmed on both sides: this machine lets us drop none"


class World:
    """Everything below one folder; jobs are made by `guest` and `plain` before `start`."""

    def __init__(self, settings, name, fd_debug=None):
        self.settings = settings
        self._fd_debug = fd_debug
        self.folder = settings.folder / name
        self.bacula = None
        self.guests = {}
        self._filesets = {}
        self._sources = {}  # job -> files that it reads
        self._stack = contextlib.ExitStack()
        # Socket paths are limited to 107 bytes, a folder's is not.
        self.sockets = Path(self._stack.enter_context(tempfile.TemporaryDirectory("-bench")))

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Before start

    def guest(self, job, path, fmt, interface="virtio", extra=(), way="stream", name=None):
        """A running guest with one disk, vda, that a job of this name backs up.

        It is read this way (transfer=).  A second guest of the job has a name of its own.
        """
        name = name or job
        disk = Disk("vda", path, fmt, interface, "blockdev")
        guest = Guest(self.folder / f"guest-{name}", name=name, disks=[disk], extra=extra,
                      binary=self.settings.qemu)
        self._stack.callback(guest.close)
        guest.start()
        self.guests.setdefault(job, guest)
        self.job(job, guest, way)
        return guest

    def job(self, job, guest, way):
        """A job of this name, or one that is there already, backs up that guest as well."""
        self._sources.setdefault(job, []).append(guest.disks["vda"].path)
        self._filesets.setdefault(job, []).append(
            f"qemu: qmpcontrol={guest.qmp_socket} transfer={way}"
        )

    def plain(self, job, path):
        """A job that backs up one file, which need not be there yet."""
        self._sources[job] = [path]
        self._filesets[job] = [path]

    def start(self):
        """Start the Bacula with all jobs."""
        self.bacula = Bacula(
            self.settings.bacula_root,
            self.folder / "bacula",
            plugin=self.settings.plugin,
            filesets=self._filesets,
            fd_debug=self._fd_debug,
        )
        self._stack.callback(self.bacula.stop)
        self.bacula.start()

    # Images

    def full_image(self, size, seed=1, fmt="qcow2"):
        """An image of a disk that holds data everywhere."""
        return self.image(f"full-{seed}", size, size, fmt, seed)

    def image(self, name, virtual, data, fmt="qcow2", seed=1):
        """An image of a disk that holds this much data, spread over it."""
        raw = content.write_spread(self.folder / f"{name}.raw", virtual, data, seed)
        if fmt == "raw":
            return raw
        image = raw.with_suffix(f".{fmt}")
        run(["qemu-img", "convert", "-f", "raw", "-O", fmt, raw, image])
        raw.unlink()
        return image

    def small_image(self, name, size, fmt="qcow2"):
        """An image that holds nothing."""
        image = self.folder / f"{name}.{fmt}"
        run(["qemu-img", "create", "-q", "-f", fmt, image, size])
        return image

    # Jobs

    def settle(self, *files):
        """The same start for every job that is timed: see caches()."""
        os.sync()
        if drops_caches():
            _DROP.write_text("3")
            return
        for file in files:
            with open(file, "rb") as source:
                while source.read(MIB):
                    pass

    def backup(self, job, level="Full", keep=False):
        """(seconds, JobResult) of a backup, the console's command and all."""
        self.settle(*self._sources[job])
        self.bacula.await_later_second(job)  # not a part of the job
        begun = time.monotonic()
        result = self.bacula.run(job, level, timeout=_LIMIT)
        lasted = time.monotonic() - begun
        if not result.ok:
            raise Failure(f"a job that should be measured failed:\n{result.log}")
        if not keep:
            self.forget_volumes()
        return lasted, result

    def restore(self, jobids, where):
        """(seconds, JobResult) of a restore to a directory."""
        self.settle(*self._volumes())
        begun = time.monotonic()
        result = self.bacula.restore(jobids, where, timeout=_LIMIT)
        lasted = time.monotonic() - begun
        if not result.ok:
            raise Failure(f"a restore that should be measured failed:\n{result.log}")
        return lasted, result

    def seconds(self, job, level="Full"):
        """A side for sample.alternate: how long a backup lasts."""
        return lambda _: self.backup(job, level)[0]

    def forget_volumes(self):
        """Give back what volumes take that nobody will read; every job labels a new one."""
        for volume in self._volumes():
            volume.unlink()

    def _volumes(self):
        return sorted((self.bacula.folder / "volumes").iterdir())

    def dirty(self, job, share, seed):
        """Let the guest write to this share of its disk's clusters."""
        guest = self.guests[job]
        size = guest.shadow("vda").stat().st_size
        for number, offset in enumerate(content.scattered(size, share, seed)):
            guest.write("vda", number % 255 + 1, offset, 64 * 1024)

    def processor(self, *pids):
        """Seconds of processor that these processes and their children have used."""
        total = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(value) for value in fields[11:15])
        return total / _TICK

    def written(self, *pids):
        """Bytes that these processes have had written to disks, or soon will have."""
        counters = [Path(f"/proc/{pid}/io").read_text() for pid in pids]
        return sum(int(re.search(r"^write_bytes: (\d+)$", text, re.M)[1]) for text in counters)
