"""bwlimit=: each disk is read no faster than it says, and the guest is not held up."""

import re

from harness import restored
from harness.disk import MIB, Disk, assert_same, make_image
from harness.marks import one_version
from harness.process import PATIENCE, wait_until
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, assert_nothing_left, start_bacula

pytestmark = one_version


def _least_seconds(result):
    """Of the disk that took least, from the job log."""
    assert result.ok, result.log
    said = re.findall(r"Dumped \S+: .* bytes in (\d+) seconds", result.log)
    return min(map(int, said))


def test_genuine(make_guest, make_bacula, workdir):
    """8 MiB at 2 MiB a second."""
    image = make_image(workdir / "ide0.qcow2", 8 * MIB, density=1)
    guest = make_guest(disks=[Disk("ide0-hd0", image)])
    line = f"qemu: qmpcontrol={guest.qmp_socket} bwlimit=2048"
    bacula = make_bacula(filesets={"VM": [line]})
    # QEMU counts by tenths of a second, and the first is free.
    assert _least_seconds(bacula.run("VM")) >= 3
    guest.assert_clean()


def test_proxmox(make_proxmox, make_bacula, workdir):
    """Two disks side by side, 12 MiB at 1 MiB a second each; writes do not wait for that."""
    pve = make_proxmox("9.2")
    guest = pve.guest(100, "vm1", disks={
        "scsi0": Volume(size=12 * MIB, density=1),
        "virtio1": Volume(size=12 * MIB, fmt="raw", density=1, seed=2),
    })
    bacula = start_bacula(make_bacula, pve, f"{LINE} bwlimit=1024")
    held = {disk: guest.snapshot(disk) for disk in guest.disks}
    jobid = bacula.run("VM", wait=False)
    wait_until(lambda: len(guest.qmp("query-block-jobs")) == 2, PATIENCE, "the dump", 0.05)
    for disk in guest.disks:
        guest.random_writes(disk, 3, seed=5)
    assert [job["speed"] for job in guest.qmp("query-block-jobs")] == [1024 * 1024] * 2
    assert _least_seconds(bacula.wait(jobid)) >= 9
    assert bacula.restore([jobid], workdir / "restored").ok
    for disk, copy in held.items():
        assert_same(copy, restored.image(workdir / "restored", disk, "vm1", 100))
    assert_nothing_left(pve, bacula)
