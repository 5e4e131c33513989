"""A Proxmox host with one guest and its backup, to restore from time and again."""

import contextlib
import os
import shutil
from pathlib import Path

from .bacula import Bacula
from .disk import MIB
from .preload import ShiftedClock
from .ports import free_ports
from .process import PATIENCE, wait_until
from .proxmox import FakeProxmox
from .pve_guest import Volume
from .pve_restored import assert_volumes, contents

NEW = 101  # the number that a restored guest gets while 100 is there
_STORAGES = [("local", "dir"), ("data", "dir"), ("local-lvm", "lvmthin"), ("thick", "lvm")]
_DISKS = {"scsi0": Volume(size=4 * MIB), "virtio1": Volume("data", 3 * MIB, "raw", seed=2)}


class ImportGate:
    """A qemu-img before the real one that can wait, or fail, when it fills a volume."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        program = self.folder / "qemu-img"
        program.write_text(
            f"#!/bin/sh\ncd {self.folder}\nreal={shutil.which('qemu-img')}\n"
            'if [ -e old ]; then case "$*" in\n'
            '  "convert --help") $real "$@" | sed "s/--target-is-zero//"; exit 0 ;;\n'
            "  *--target-is-zero*) echo 'unrecognized option' >&2; exit 1 ;;\n"
            "esac; fi\n"
            'case "$*" in "convert -q -n "*)\n'
            "  echo $$ >>started\n"
            '  echo "$*" >>commands\n'
            '  [ ! -e fail ] || [ "$(wc -l <started)" -le "$(head -n1 fail)" ] ||'
            " { tail -n +2 fail >&2; exit 1; }\n"
            "  while [ -e held ]; do sleep 0.05; done ;;\n"
            'esac\nexec $real "$@"\n'
        )
        program.chmod(0o755)

    def reset(self):
        """Let everything through."""
        for name in ("started", "commands", "fail", "held", "old"):
            (self.folder / name).unlink(missing_ok=True)

    def commands(self):
        """The arguments of every import, as they were given."""
        return [line.split() for line in (self.folder / "commands").read_text().splitlines()]

    def hold(self):
        """Let imports wait."""
        (self.folder / "held").touch()

    def release(self):
        """Let them go on."""
        (self.folder / "held").unlink()

    def fail(self, text, after=0):
        """Let imports fail after so many good ones."""
        (self.folder / "fail").write_text(f"{after}\n{text}\n")

    def be_old(self):
        """From now on it is of a QEMU before 5.0, as far as convert goes."""
        (self.folder / "old").touch()

    def wait(self, count=1):
        """Wait for an import to begin; its process."""
        started = self.folder / "started"
        wait_until(lambda: started.exists() and len(started.read_text().split()) >= count,
                   60, "an import")
        return Path(f"/proc/{started.read_text().split()[count - 1]}")


class PveWorld:
    """Guest 100 ("vm1"), a Full of it, and others that no restore may touch."""

    def __init__(self, pve, bacula, gate, clock, **guest):
        self.pve = pve
        self.bacula = bacula
        self.gate = gate
        self.clock = clock  # the File Daemon's
        self.guest = pve.guest(100, "vm1", **{"disks": _DISKS, **guest})
        self.config = pve.config(100)
        self._add_others()
        self.held = contents(self.guest)
        self.full = bacula.run("VM", "Full")
        self.before = None

    def _add_others(self):
        volid, _ = self.pve.alloc("data", 150, MIB, fmt="raw")
        config = {"name": "bystander", "scsi0": f"{volid},size=1M", "memory": "64"}
        self.pve.control("add_guest", vmid=150, config=config)

    def reset(self):
        """As after the backup, with volumes of the new guest's number lying around."""
        self.pve.control("clear_faults")
        self.pve.control("set", task_duration=0.05)
        self.gate.reset()
        for vmid in {*self.pve.vmids(), NEW} - {100, 150}:
            self.pve.control("destroy_guest", vmid=vmid)
        for storage, name in (("local", f"vm-{NEW}-disk-7.raw"), ("data", f"vm-{NEW}-disk-1.raw")):
            _, path = self.pve.alloc(storage, NEW, MIB, fmt="raw", name=name)
            Path(path).write_bytes(b"orphan" * 1000)
        self.pve.control("forget_requests")
        self.before = self.state()

    def state(self):
        """Whatever a restore may change on the host."""
        orphans = {volid: _content(path) for volid, path in self.pve.volumes().items()
                   if f"vm-{NEW}-" in volid}
        return self.pve.control("guests"), sorted(self.pve.volumes()), orphans

    def restore(self, jobids=None, **options):
        """Restore the Full to where=/."""
        return self.bacula.restore(jobids or [self.full.jobid], "/", **options)

    def restore_held(self):
        """A restore whose first import waits for the gate: (job id, qemu-img's process)."""
        self.gate.hold()
        jobid = self.restore(wait=False)
        return jobid, self.gate.wait()

    def assert_nothing_left(self):
        """No guest, no volume, no lock, no file that was not there before."""
        assert self.state() == self.before
        self.assert_clean()

    def assert_clean(self):
        """Nothing in the working directory, nothing in the guest that runs."""
        wait_until(lambda: not self.bacula.fd_leftovers(), PATIENCE, "a clean working directory")
        self.guest.assert_clean()

    def assert_next_restore(self):
        """The File Daemon lives, and makes one more guest of the same backup, byte for byte."""
        assert self.bacula.fd_lives(), self.bacula.fd_log()
        self.pve.control("clear_faults")
        self.gate.reset()
        before = self.pve.vmids()
        result = self.restore()
        assert result.ok, result.log
        (made,) = set(self.pve.vmids()) - set(before)
        assert_volumes(self.pve, made, self.held)
        self.assert_clean()
        assert self.bacula.fd_lives(), self.bacula.fd_log()

    def removed(self):
        """What was asked to be removed: paths below the node's."""
        prefix = f"DELETE /nodes/{self.pve.node}/"
        return [line.removeprefix(prefix).split("?")[0] for line in self.pve.requests("^DELETE")]


@contextlib.contextmanager
def pve_world(bacula_root, plugin, folder, version, parameters="", **guest):
    """A PveWorld whose Plugin line has these further parameters, or what a function makes."""
    with contextlib.ExitStack() as stack:
        pve = stack.enter_context(
            FakeProxmox(version, folder / "pve", port=free_ports(1)[0], storages=_STORAGES)
        )
        if callable(parameters):
            parameters = parameters(pve)
        gate = ImportGate(folder / "gate")
        clock = ShiftedClock(folder)
        bacula = Bacula(
            bacula_root,
            folder / "bacula",
            plugin=plugin,
            filesets={"VM": [f"qemu: mode=PVE off=never url={pve.url} {parameters}".rstrip()]},
            fd_wrapper=pve.fd_wrapper,
            fd_env={"PATH": f"{gate.folder}:{os.environ['PATH']}", **clock.environment},
        )
        stack.enter_context(bacula)
        yield PveWorld(pve, bacula, gate, clock, **guest)


def _content(path):
    """A volume's bytes; None for one that is being removed just now."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None
