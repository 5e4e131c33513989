"""Backups of Proxmox guests: `Plugin = "qemu: mode=PVE"` on Proxmox 6.4 to 9.2.

Restores here go to a directory; test_pve_restore.py makes new guests of them.
"""

import platform
import re

from harness import listing, restored
from harness.disk import MIB, assert_same
from harness.history import NOT_STREAMED, History, dumped, sequences, sizes
from harness.pve_api import Client
from harness.pve_guest import Volume
from harness.pve_jobs import (
    LINE,
    all_proxmox,
    assert_nothing_left,
    old_and_new,
    one_version,
    start_bacula,
)

_BUILD = {
    "6.4": "6.4-6/400d6ce3",
    "7.2": "7.2-4/ba705571",
    "8.4": "8.4.21/0123456789abcdef",
    "9.1": "9.1.1/f4d3f1259a26a0c2",
    "9.2": "9.2.11/0123456789abcdef",
}
_KIB = 1024
_TABLES = 512 * _KIB  # of a qcow2 image, around its data


def _assert_log(result, pve, drives, level):
    """The plugin's lines, word for word, and no others."""
    connected = f"pve-manager/{_BUILD[pve.version]} (running kernel: {platform.release()})"
    said = restored.plugin_lines(result.log)
    assert said[:3] == [
        f"Connected to Proxmox {connected}", "Start Backup vm: vm1 (100)", f"vm1 {NOT_STREAMED}",
    ]  # fmt: skip
    pairs = [f"{first}\n{second}" for first, second in zip(said[3::2], said[4::2], strict=True)]
    assert sorted(re.sub(r", \d+ bytes in \d+ s", ", N bytes in N s", pair) for pair in pairs) == [
        f"Dumped vm1/{drive}: {level}, N bytes in N seconds\nFinish backup of vm1/{drive}"
        for drive in sorted(drives)
    ]


# The chain

_DRIVES = ["drive-scsi0", "drive-virtio1", "drive-sata2", "drive-efidisk0"]


def _guest_of_many_disks(pve):
    return pve.guest(100, "vm1", disks={
        "scsi0": Volume(),
        "virtio1": Volume(storage="local-lvm", seed=2),
        "sata2": Volume(storage="data", fmt="raw", size=6 * MIB, seed=3),
        "efidisk0": Volume(fmt="raw", size=528 * _KIB, seed=4),
    })


@all_proxmox
def test_chain(version, make_proxmox, make_bacula, workdir):
    """Nothing but mode=PVE: all levels, true increments, the manual's log and names."""
    pve = make_proxmox(version)
    guest = _guest_of_many_disks(pve)
    bacula = start_bacula(make_bacula, pve)
    history = History(bacula, guest, workdir)
    steps = [("Full", 0), ("Incremental", 1), ("Differential", 1), ("Incremental", 2)]
    for number, (level, sequence) in enumerate(steps):
        for drive in _DRIVES[:2] if number else ():
            guest.random_writes(drive, 3, seed=number)
        result = history.backup(level)
        assert result.ok, result.log
        _assert_log(result, pve, _DRIVES, level)
        assert sequences(bacula, result) == dict.fromkeys(_DRIVES, sequence)
        if number:
            # Each write dirties up to 3 clusters; the Differential has two jobs' writes.
            changed = (2 if level == "Differential" else 1) * 3 * 3 * 64 * _KIB
            saved = sizes(bacula, result)
            assert all(saved[drive] < changed + _TABLES for drive in _DRIVES[:2]), saved
            assert all(saved[drive] < _TABLES for drive in _DRIVES[2:]), saved
        if level == "Incremental":
            history.start_restore()
    history.finish()
    assert_nothing_left(pve, bacula)
    assert pve.qmeventd.history == [("hold", "100"), ("release", "100")] * len(steps)


@one_version
def test_several_guests(make_proxmox, make_bacula, workdir):
    """One job, each guest with a chain of its own: a restart of one costs that one a Full."""
    pve = make_proxmox("9.1")
    guests = [pve.guest(vmid, "twin", disks={"scsi0": Volume(seed=vmid)}) for vmid in (100, 101)]
    bacula = start_bacula(make_bacula, pve)
    jobs = [bacula.run("VM")]
    pve.stop_guest(101)
    pve.start_guest(101)
    for guest in guests:
        guest.random_writes("drive-scsi0", 3, seed=guest.vmid)
    jobs.append(bacula.run("VM", level="Incremental"))
    assert all(job.ok for job in jobs), jobs[-1].log
    levels = re.findall(r"Dumped twin/drive-scsi0: (\w+(?: instead of \w+ \(.*\))?),", jobs[-1].log)
    assert levels[0] == "Incremental" and levels[1].startswith("Full instead of Incremental (")
    parts = {file.path: file.delta_seq for file in bacula.list_files(jobs[-1].jobid)}
    assert parts["/@qemu/twin/100/drive-scsi0.qcow2"] == 1
    assert parts["/@qemu/twin/101/drive-scsi0.qcow2"] == 0
    assert bacula.restore([job.jobid for job in jobs], workdir / "restored").ok
    for guest in guests:
        image = restored.image(workdir / "restored", "drive-scsi0", "twin", guest.vmid)
        assert_same(guest.shadow("drive-scsi0"), image)
    assert_nothing_left(pve, bacula)


@old_and_new
def test_bitmaps_are_never_persistent(version, make_proxmox, make_bacula):
    """bitmap-persistence=1 has no effect: a restart of the guest costs a Full."""
    pve = make_proxmox(version)
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(), "virtio1": Volume(fmt="raw")})
    bacula = start_bacula(make_bacula, pve, f"{LINE} bitmap-persistence=1")
    assert bacula.run("VM").ok
    for drive in guest.disks:
        bitmaps = guest.bitmaps(drive).values()
        assert len(bitmaps) == 2  # the job's own and the witness of the disk's size
        assert not any(bitmap["persistent"] for bitmap in bitmaps)
    pve.stop_guest(100)
    pve.start_guest(100)
    result = bacula.run("VM", level="Incremental")
    assert result.ok and {how[0] for how in dumped(result).values()} == {"Full"}, result.log
    assert_nothing_left(pve, bacula)


# What is left out, and what is written down


def _api_config(pve, vmid):
    """As Proxmox gives it; the digest is one over the backup's lock too."""
    client = Client(pve)
    try:
        config = client.as_root("GET", f"/nodes/{pve.node}/qemu/{vmid}/config?current=1").data
        return {key: value for key, value in config.items() if key != "digest"}
    finally:
        client.close()


@all_proxmox
def test_left_out(version, make_proxmox, make_bacula, workdir):
    """CD-ROMs and cloud-init silently, backup=0 and a TPM's state with a word.

    config.json has the guest's whole configuration all the same.
    """
    pve = make_proxmox(version)
    volumes = {
        "ide0": Volume(size=2 * MIB, name="vm-100-cloudinit.qcow2", options={"media": "cdrom"}),
        "ide2": Volume(storage=None),
        "sata1": Volume(storage="data", size=MIB, fmt="raw", options={"media": "cdrom"}),
        "scsi0": Volume(size=2 * MIB, options={"discard": "on", "ssd": "1"}),
        "scsi1": Volume(size=2 * MIB, options={"backup": "0"}),
        "virtio3": Volume(storage="local-lvm", size=4 * MIB),
    }
    if version != "6.4":
        volumes["tpmstate0"] = Volume(storage="data", size=4 * MIB, fmt="raw")
    guest = pve.guest(100, "vm1", disks=volumes, config={"args": "-no-hpet", "tags": "prod"})
    bacula = start_bacula(make_bacula, pve)
    result = bacula.run("VM")
    assert result.ok, result.log
    skipped = {"scsi1": "it is marked backup=0"}
    if version != "6.4":
        skipped["tpmstate0"] = "QEMU does not show it, so it cannot be backed up"
    said = re.findall(r"qemu: Skipped vm1/drive-(\w+): (.*)", result.log)
    assert sorted(said) == sorted(skipped.items())
    assert set(sequences(bacula, result)) == {"drive-scsi0", "drive-virtio3"}
    assert_nothing_left(pve, bacula)

    assert bacula.restore(result.jobid, workdir / "restored").ok
    saved = restored.config(workdir / "restored", "vm1", 100)
    assert saved["guest"].items() >= {
        "name": "vm1", "vmid": 100, "uuid": guest.uuid, "hypervisor": "Proxmox VE",
        "qemu_version": _qemu_version(guest),
    }.items()
    assert re.fullmatch("[0-9a-f]{64}", saved["proxmox"].pop("seal"))
    assert re.fullmatch("[0-9a-f]{40}", saved["proxmox"]["config"].pop("digest"))
    assert saved["proxmox"] == {
        "node": pve.node,
        "version": f"pve-manager/{_BUILD[version]}",
        "config": _api_config(pve, 100),
        "firewall": {"options": {}, "aliases": [], "ipset": [], "rules": []},
    }
    description = saved["proxmox"]["config"]["description"]
    assert description == "a guest of the tests: ä % # =\nsecond line"
    disks = {disk["drive"]: disk for disk in saved["disks"]}
    assert disks.keys() == {"drive-scsi0", "drive-virtio3", *(f"drive-{key}" for key in skipped)}
    for drive, disk in disks.items():
        key = drive.removeprefix("drive-")
        assert disk["volume"] == pve.config(100)[key].split(",")[0]
        assert disk["storage"] == volumes[key].storage
        assert disk["backed_up"] == (key not in skipped)
        assert disk.get("skipped_because") == skipped.get(key)
    assert disks["drive-scsi0"]["format"] == "qcow2" and disks["drive-virtio3"]["format"] == "raw"
    assert disks["drive-virtio3"]["virtual_size"] == 4 * MIB


def _qemu_version(guest):
    about = guest.qmp("query-version")["qemu"]
    return f"{about['major']}.{about['minor']}.{about['micro']}"


@one_version
def test_firmware_is_no_disk(make_proxmox, make_bacula, workdir):
    """QEMU shows it beside every EFI disk, and the guest's configuration has no such disk."""
    pve = make_proxmox("9.1")
    pve.guest(100, "vm1", disks={"efidisk0": Volume(fmt="raw", size=528 * _KIB)})
    bacula = start_bacula(make_bacula, pve)
    result = bacula.run("VM")
    assert "Skipped" not in result.log
    assert bacula.restore(result.jobid, workdir / "restored").ok
    disks = restored.config(workdir / "restored", "vm1", 100)["disks"]
    assert [disk["drive"] for disk in disks] == ["drive-efidisk0"]


@one_version
def test_changes_that_wait_for_a_restart(make_proxmox, make_bacula, workdir):
    """config.json tells how the guest runs now, not how it will after its next start."""
    pve = make_proxmox("7.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)}, config={"memory": "64"})
    client = Client(pve)
    client.as_root("PUT", f"/nodes/{pve.node}/qemu/100/config", "memory=96&cores=2")
    assert client.as_root("GET", f"/nodes/{pve.node}/qemu/100/config").data["memory"] == 96
    client.close()
    bacula = start_bacula(make_bacula, pve)
    assert bacula.restore(bacula.run("VM").jobid, workdir / "restored").ok
    config = restored.config(workdir / "restored", "vm1", 100)["proxmox"]["config"]
    assert (config["memory"], config["cores"]) == (64, 1)


@old_and_new
def test_locked_guest(version, make_proxmox, make_bacula):
    """An error that names the lock; only with abort_on_error does the job end."""
    pve = make_proxmox(version)
    for vmid, lock in ((100, "snapshot"), (101, None), (102, "migrate")):
        config = {"lock": lock} if lock else {}
        pve.guest(vmid, f"vm{vmid}", disks={"scsi0": Volume(size=MIB)}, config=config)
    lines = {"VM": [LINE], "abort": [f"{LINE} abort_on_error=1"]}
    bacula = make_bacula(filesets=lines, fd_wrapper=pve.fd_wrapper)
    text = (
        'guest "vm{0}" ({0}): it is locked ({1}); let what locks it end; a lock that was left behind is'
        ' removed by "qm unlock {0}"'
    )
    complaints = [text.format(100, "snapshot"), text.format(102, "migrate")]
    assert listing.own_lines(bacula.estimate("VM")) == complaints
    result = bacula.run("VM")
    assert re.findall(r"Error: qemu: (.*)", result.log) == complaints and result.errors == 2
    assert result.status == "T" and "Finish backup of vm101/drive-scsi0" in result.log
    aborted = bacula.run("abort")
    assert aborted.status == "f" and f"Fatal error: qemu: {complaints[0]}\n" in aborted.log
    assert "vm101" not in aborted.log
    assert_nothing_left(pve, bacula)
    pve.control("set_guest", vmid=100, config={"lock": None})
    pve.control("set_guest", vmid=102, config={"lock": None})
    assert bacula.run("VM").ok


@one_version
def test_qmpcontrol_does_not_go_with_it(make_proxmox, make_bacula):
    """The manual prohibits it, in whatever order the two are given."""
    pve = make_proxmox("7.2")
    pve.guest(100, "vm1", disks={"scsi0": Volume(size=MIB)})
    socket = "qmpcontrol=/var/run/qemu-server/100.qmp"
    lines = [f"qemu: mode=PVE {socket}", f"qemu: {socket} mode=PVE"]
    bacula = make_bacula(
        filesets={str(number): [line] for number, line in enumerate(lines)},
        fd_wrapper=pve.fd_wrapper,
    )
    text = (
        'Plugin line: parameter "qmpcontrol" does not go with mode=PVE; take one of the two out of'
        " the Plugin line"
    )
    for job in bacula.filesets:
        result = bacula.run(job)
        assert result.status == "f" and f"Fatal error: qemu: {text}\n" in result.log
    assert pve.requests() == []
