"""Backups of Proxmox guests on hosts without Proxmox: the images, and plain QEMU with them."""

import shutil

from harness import restored
from harness.disk import Disk, assert_same
from harness.history import History, sequences
from harness.pve_guest import Volume
from harness.pve_jobs import old_and_new, start_bacula

_KIB = 1024


def _leave_proxmox(pve, bacula):
    """From now on the File Daemon's host has neither Proxmox nor these guests."""
    bacula.kill_fd()
    pve.close()
    bacula.fd_wrapper = []
    bacula.start_fd()


def _assert_starts(make_guest, content, image):
    """Plain QEMU runs from an image and finds that content in it."""
    assert_same(content, image)
    guest = make_guest(name="elsewhere", disks=[Disk("vda", image)])
    guest.write("vda", 0x5A, 0, 64 * _KIB)
    guest.read("vda", 0x5A, 0, 64 * _KIB)
    guest.quit()


@old_and_new
def test_restore_without_proxmox(version, make_proxmox, make_bacula, make_guest, workdir):
    """where=/dir: log lines as in the manual, an image that plain QEMU starts."""
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume()})
    bacula = start_bacula(make_bacula, pve)
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("drive-scsi0", 3, seed=1)
    history.backup()
    _leave_proxmox(pve, bacula)
    result = bacula.restore(history.jobids, workdir / "restored")
    assert result.ok, result.log
    lines = restored.plugin_lines(result.log)
    assert lines[:3] == [
        "VM local restore: vm1 (oid:100)",
        "Restoring device: drive-scsi0",
        "Patching incremental: drive-scsi0",
    ]
    folder = restored.folder(workdir / "restored", "vm1", 100)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "drive-scsi0.qcow2"]
    _assert_starts(make_guest, history.contents["drive-scsi0"], folder / "drive-scsi0.qcow2")
    assert bacula.fd_leftovers() == []


@old_and_new
def test_migration_to_genuine_qemu(version, make_proxmox, make_bacula, make_guest, workdir):
    """The manual's path: the guest's own socket in mode=QEMU, and where=/ on another host."""
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(storage="data")})
    line = "qemu: mode=QEMU qmpcontrol=/var/run/qemu-server/100.qmp"
    bacula = start_bacula(make_bacula, pve, line)
    jobs = [bacula.run("VM")]
    guest.random_writes("drive-scsi0", 3, seed=1)
    jobs.append(bacula.run("VM", level="Incremental"))
    assert all(job.ok for job in jobs) and "Proxmox" not in jobs[0].log
    ((name, sequence),) = sequences(bacula, jobs[-1]).items()
    assert sequence == 1 and name in ("scsi0", "drive-scsi0")
    content = guest.snapshot("drive-scsi0")
    guest.assert_clean()
    original = guest.disks["drive-scsi0"].path
    _leave_proxmox(pve, bacula)
    shutil.rmtree(pve.folder / "storage" / "data" / "images")

    jobids = [job.jobid for job in jobs]
    assert bacula.restore(jobids, "/").ok
    image = restored.image(bacula.fd_working, name, "vm1")
    _assert_starts(make_guest, content, image)
    shutil.rmtree(bacula.fd_working / "@qemu")

    original.parent.mkdir(parents=True)
    delivered = bacula.restore(jobids, "/", plugin_options={"convdestination": "yes"})
    assert delivered.ok, delivered.log
    _assert_starts(make_guest, content, original)
    assert bacula.fd_leftovers() == []
