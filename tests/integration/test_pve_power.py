"""qmeventd ends the QEMU of a Proxmox guest that switched itself off: not during its dump."""

import re

from harness import restored
from harness.disk import MIB, assert_same
from harness.history import dumped, sequences, wait_for_dump
from harness.pace import unhurried
from harness.process import PATIENCE, wait_until
from harness.pve_guest import Volume
from harness.pve_jobs import (
    assert_nothing_left,
    old_and_new,
    one_version,
    start_bacula,
)


def _start_slow_dump(pve, bacula):
    """A guest in the midst of a dump that does not end while it is slow; (guest, job id)."""
    guest = pve.guest(100, "vm1", disks={
        "scsi0": Volume(size=6 * MIB, density=1, slow=True),
        "virtio1": Volume(fmt="raw", seed=2),
    })
    guest.slow_down("drive-scsi0", unhurried(MIB // 8))
    jobid = bacula.run("VM", wait=False)
    wait_for_dump(guest, jobid)
    assert pve.qmeventd.holders == ["100"]
    return guest, jobid


@old_and_new
def test_guest_switches_itself_off(version, make_proxmox, make_bacula, workdir):
    """qmeventd keeps its QEMU until the dump is done, and ends it then."""
    pve = make_proxmox(version)
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _start_slow_dump(pve, bacula)
    guest.power_off()
    assert guest.qmp("query-status")["status"] == "shutdown"
    guest.slow_down("drive-scsi0")
    result = bacula.wait(jobid)
    assert result.ok, result.log
    guest.wait_gone()
    assert pve.qmeventd.history == [("hold", "100"), ("release", "100"), ("terminate", "100")]
    assert bacula.fd_leftovers() == []

    still = bacula.run("VM", level="Incremental")
    assert still.ok and "vm1 is off: its disks are read from their images" in still.log
    guest.close_process()
    pve.start_guest(100)
    guest.random_writes("drive-scsi0", 3, seed=1)
    again = bacula.run("VM", level="Incremental")
    assert again.ok and {how[0] for how in dumped(again).values()} == {"Full"}, again.log
    assert bacula.restore([result.jobid, still.jobid, again.jobid], workdir / "restored").ok
    for drive in guest.disks:
        image = restored.image(workdir / "restored", drive, "vm1", 100)
        assert_same(guest.shadow(drive), image)
    assert_nothing_left(pve, bacula)


@one_version
def test_cancelled_job_lets_go(make_proxmox, make_bacula):
    """A guest that switches itself off after a cancelled job is ended by qmeventd."""
    pve = make_proxmox("9.1")
    bacula = start_bacula(make_bacula, pve)
    guest, jobid = _start_slow_dump(pve, bacula)
    bacula.cancel(jobid)
    assert bacula.wait(jobid).status == "A"
    guest.slow_down("drive-scsi0")
    wait_until(lambda: not bacula.fd_leftovers(), PATIENCE, "a clean working directory")
    assert_nothing_left(pve, bacula)
    guest.power_off()
    guest.wait_gone()
    assert pve.qmeventd.history == [("hold", "100"), ("release", "100"), ("terminate", "100")]


@old_and_new
def test_without_qmeventd(version, make_proxmox, make_bacula):
    """An error a guest, and one line with the cure; with it the next job is well."""
    pve = make_proxmox(version)
    guests = [
        pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB)}) for vmid in (100, 101)
    ]
    bacula = start_bacula(make_bacula, pve)
    pve.qmeventd.stop()
    result = bacula.run("VM")
    why = "qmeventd cannot be reached (/var/run/qmeventd.sock): No such file or directory"
    assert re.findall(r" Error: qemu: (.*)", result.log) == [
        f'guest "vm{vmid}" ({vmid}): {why}' for vmid in (100, 101)
    ]
    cures = [line for line in restored.plugin_lines(result.log) if "systemctl start qmeventd" in line]
    assert cures == [
        f"No guest can be backed up: {why}. It ends the QEMU of a guest that powers itself off, and is"
        " told to wait for the dump; start it: systemctl start qmeventd"
    ]
    assert result.status == "f" and "Fatal error: qemu: nothing was saved of any guest" in result.log
    assert "Finish backup" not in result.log and sequences(bacula, result) == {}
    for guest in guests:
        assert guest.bitmaps("drive-scsi0") == {} and "lock" not in pve.config(guest.vmid)
    assert_nothing_left(pve, bacula)
    pve.qmeventd.start()
    wait_until(lambda: pve.qmeventd.guests == ["100", "101"], PATIENCE, "QEMU to meet qmeventd again")
    assert bacula.run("VM").ok
