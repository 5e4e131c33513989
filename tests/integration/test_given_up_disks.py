"""A disk that QEMU has given up while the guest ran: the others are saved all the same."""

import json
import struct

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences

_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
_SEEN = "QEMU does not show its bitmaps, since it has given up another disk"


def _line(guest, more=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{more}"


def _damage(image):
    """Note all clusters of a closed qcow2 image as free: QEMU notices when it needs a new one."""
    with image.open("r+b") as file:
        file.seek(48)
        table = struct.unpack(">Q", file.read(8))[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        file.seek(block)
        file.write(bytes(64 * 1024))


def _write_past_the_end_of_trust(guest, disk):
    """The write with which QEMU finds the image corrupt; it fails."""
    command = f'qemu-io {guest.disks[disk].qemu_io_target} "write -q 3M 64k"'
    guest.qmp("human-monitor-command", **{"command-line": command})
    assert "Marking image as corrupt" in guest.log()


@pytest.fixture
def guest(make_guest, workdir):
    """Three disks, one of them below a filter; the first is damaged."""
    bad = make_image(workdir / "bad.qcow2", 4 * MIB, density=0)
    _damage(bad)
    disks = [
        Disk("bad", bad),
        Disk("good", make_image(workdir / "good.qcow2", 4 * MIB, seed=1)),
        Disk(
            "drive-filtered",
            make_image(workdir / "filtered.qcow2", 4 * MIB, seed=2),
            style="blockdev+throttle",
            interface="scsi",
        ),
    ]
    return make_guest(name="VM1", disks=disks)


@_one_version
def test_corrupt_disk(guest, make_bacula, workdir):
    """The error names the disk, and the next job of the others goes on from this one."""
    bacula = make_bacula(filesets={"VM": [_line(guest)]})
    history = History(bacula, guest, workdir)
    history.backup("Full")
    for disk in ("good", "drive-filtered"):
        guest.random_writes(disk, 3, seed=3)
    _write_past_the_end_of_trust(guest, "bad")
    history.note_contents()
    job = bacula.run("VM", "Incremental")
    assert job.status == "T"
    assert sequences(bacula, job) == {"good": 1, "filtered": 0}
    assert dumped(job)["filtered"][:2] == ("Full", _SEEN)
    errors = [line for line in job.log.splitlines() if "Error: qemu:" in line]
    assert len(errors) == 1, job.log
    assert 'guest "VM1", disk "bad": QEMU has given it up, as it does with an image that' in errors[0]
    assert "#block" not in job.log
    assert guest.qmp("query-status")["status"] == "running"
    guest.random_writes("good", 3, seed=4)
    history.chain.append(job)
    history.note_contents()
    after = bacula.run("VM", "Incremental")
    assert sequences(bacula, after) == {"good": 2, "filtered": 0}
    assert bacula.fd_leftovers() == [] and guest.qmp("query-jobs") == []
    where = workdir / "restored"
    restored = bacula.restore([*history.jobids, after.jobid], where)
    assert restored.errors == 1 and 'disk "bad": part 0 is missing: the newest' in restored.log
    for disk in ("good", "filtered"):
        name = next(name for name in history.contents if name.endswith(disk))
        history.assert_same(where, {disk: history.contents[name]})
    config = json.loads((where / "@qemu/VM1/0/config.json").read_text())
    assert config["disks"][0]["failed_because"].startswith("QEMU has given it up")


@_one_version
def test_nothing_is_dumped_where_one_error_is_the_end(guest, make_bacula):
    """abort_on_error: the job ends before the guest is touched."""
    _write_past_the_end_of_trust(guest, "bad")
    bacula = make_bacula(filesets={"VM": [_line(guest, " abort_on_error=1")]})
    job = bacula.run("VM", "Full")
    assert job.status == "f"
    assert 'Fatal error: qemu: guest "VM1": disk "bad": QEMU has given it up' in job.log
    assert "Dumped" not in job.log
