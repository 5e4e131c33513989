"""A guest that moves between the nodes of a cluster: what docs/proxmox.md says of it.

One stand-in plays the node; the guest is on it or not, and its QEMU with its bitmaps lives on, as after a live
migration.  The other node's Job is one of another name.
"""

import re

from harness.disk import MIB, assert_same
from harness.history import dumped
from harness.pve_guest import Volume
from harness.pve_jobs import LINE, one_version

_CLIENT = "restore client=fd restoreclient=fd fileset={} where={} select current all done yes"
_IMAGE = "@qemu/vm1/100/drive-scsi0.qcow2"


def _guests(make_proxmox):
    pve = make_proxmox("9.2")
    for vmid in (100, 101):
        pve.guest(vmid, f"vm{vmid - 99}", disks={"scsi0": Volume(size=4 * MIB, seed=vmid)})
    return pve, pve.guests[100]


def _level(result):
    assert result.ok, result.log
    return dumped(result)["drive-scsi0"][0]


def _restored(bacula, fileset, where):
    said = bacula.console(_CLIENT.format(fileset, where))
    assert "Using Catalog" in said
    result = bacula.wait(int(re.search(r"Job queued\. JobId=(\d+)", said)[1]))
    assert result.ok, result.log
    return where / _IMAGE


@one_version
def test_a_guest_that_moved(make_proxmox, make_bacula, workdir):
    """Each node's Job keeps its own chain, and goes on offering what it had."""
    pve, guest = _guests(make_proxmox)
    lines = {"pve1": LINE, "pve2": f"{LINE} include=^vm1$", "named": f"{LINE} vm=vm1"}
    bacula = make_bacula(filesets={job: [line] for job, line in lines.items()}, fd_wrapper=pve.fd_wrapper)
    assert bacula.run("pve1").ok
    held = guest.snapshot("drive-scsi0")

    pve.control("move_guest", vmid=100, node="elsewhere")
    away = bacula.run("pve1", "Incremental")
    assert away.ok and "vm1" not in away.log and "Dumped vm2/drive-scsi0: Incremental" in away.log, away.log
    named = bacula.run("named")
    assert "Error: qemu: " in named.log and "vm1" in named.log
    guest.random_writes("drive-scsi0", 3, seed=1)
    assert_same(held, _restored(bacula, "pve1", workdir / "old"))

    pve.control("move_guest", vmid=100)  # as the new node sees it, where no job of "pve2" was
    assert _level(bacula.run("pve2")) == "Full"
    assert _level(bacula.run("pve2", "Incremental")) == "Incremental"
    assert_same(guest.snapshot("drive-scsi0"), _restored(bacula, "pve2", workdir / "new"))

    back = bacula.run("pve1", "Incremental")  # the job before it did not see the guest
    assert "Dumped vm1/drive-scsi0: Full instead of Incremental (no bitmap of job" in back.log, back.log
    assert_same(guest.snapshot("drive-scsi0"), _restored(bacula, "pve1", workdir / "back"))
