"""A Proxmox guest that gets another name while QEMU keeps its bitmaps."""

import re

from harness.disk import MIB, assert_same
from harness.history import dumped
from harness.ports import free_ports
from harness.pve_guest import Volume
from harness.pve_jobs import assert_nothing_left, old_and_new
from harness.pve_restored import contents

_WHY = r"the guest or the disk had another name at job VM\.\S+"


@old_and_new
def test_new_name_in_proxmox(version, make_proxmox, make_bacula, workdir):
    """Its files are others from then on, so nothing may build on those of the old name."""
    pve = make_proxmox(version, port=free_ports(1)[0])
    guest = pve.guest(100, "old", disks={"scsi0": Volume(size=4 * MIB)})
    line = f"qemu: mode=PVE url={pve.url}"
    bacula = make_bacula(filesets={"VM": [line]}, fd_wrapper=pve.fd_wrapper)
    jobs = [bacula.run("VM", "Full")]
    guest.random_writes("drive-scsi0", 5, seed=1)
    pve.control("set_guest", vmid=100, config={"name": "new"})
    jobs.append(bacula.run("VM", "Incremental"))
    (level, why, _) = dumped(jobs[-1])["drive-scsi0"]
    assert level == "Full" and re.fullmatch(_WHY, why), jobs[-1].log
    guest.random_writes("drive-scsi0", 5, seed=2)
    held = contents(guest)
    jobs.append(bacula.run("VM", "Incremental"))
    assert dumped(jobs[-1])["drive-scsi0"][0] == "Incremental"
    restored = bacula.restore([job.jobid for job in jobs], workdir / "restored")
    assert restored.ok, restored.log
    assert_same(held["scsi0"], workdir / "restored/@qemu/new/100/drive-scsi0.qcow2")
    assert_nothing_left(pve, bacula)
