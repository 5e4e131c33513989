"""The job log word for word as the manual promises it, and true."""

import re
import time

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import NOT_STREAMED, sizes

# For what no Bacula has a part in.
_one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)

_DISKS = ("ide0-hd0", "ide0-hd1")


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk(name, make_image(workdir / f"{name}.qcow2", 4 * MIB, seed=seed), interface="ide")
        for seed, name in enumerate(_DISKS)
    ]
    return make_guest(name="VM1", disks=disks)


@pytest.fixture
def bacula(make_bacula, guest):
    return make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})


def _own_lines(result):
    """What the plugin said, with the kind of message in front if it is one."""
    return re.findall(r"^fd JobId \d+: ((?:\w+ ?\w*: )?qemu: .*)", result.log, re.M)


def _backup_lines(bacula, result, level):
    """What a quick backup of VM1 must say; the sizes are the catalog's."""
    saved = sizes(bacula, result)
    lines = ["qemu: Start Backup vm: VM1 (0)", f"qemu: VM1 {NOT_STREAMED}"]
    for disk in _DISKS:
        lines.append(f"qemu: Dumped VM1/{disk}: {level}, {saved[disk]} bytes in N seconds")
        lines.append(f"qemu: Finish backup of VM1/{disk}")
    return lines


def _without_seconds(lines):
    """The same lines, where a machine may be quick or slow."""
    return [re.sub(r"in [0-9]+ seconds$", "in N seconds", line) for line in lines]


def _write(guest, seed):
    for disk in guest.disks:
        guest.random_writes(disk, 3, seed)


def test_backups_and_restores_speak_as_the_manual(bacula, guest, workdir):
    """Manual 3.1, 6.1 and 6.3: nothing more, nothing less, in this order."""
    jobs = []
    for seed, level in enumerate(("Full", "Differential", "Incremental")):
        _write(guest, seed)
        jobs.append(bacula.run("VM", level=level))
        assert jobs[-1].ok, jobs[-1].log
        said = _without_seconds(_own_lines(jobs[-1]))
        assert said == _backup_lines(bacula, jobs[-1], level)

    parts = [f"qemu: Restoring device: {disk}" for disk in _DISKS]
    parts += [f"qemu: Patching incremental: {disk}" for disk in _DISKS] * 2
    jobids = [job.jobid for job in jobs]
    restored = bacula.restore(jobids, workdir / "restored")
    assert restored.ok and _own_lines(restored) == ["qemu: VM local restore: VM1 (oid:0)", *parts]

    restored = bacula.restore(jobids, "/")
    images = {disk: bacula.fd_working / "@qemu/VM1/0" / f"{disk}.qcow2" for disk in _DISKS}
    assert restored.ok and _own_lines(restored) == [
        "qemu: VM to restore: VM1 (oid:0)",
        "qemu: Start Restore vm: VM1 (rid:0) devices: 2",
        *parts,
        *(f"qemu: Restored device {disk} is ready as: {path}" for disk, path in images.items()),
    ]
    assert all(path.exists() for path in images.values())


def test_full_dump_instead_says_why(bacula, guest):
    """asks 14: each disk by itself, and the others stay incremental."""
    full = bacula.run("VM")
    (gone,) = (name for name in guest.bitmaps("ide0-hd1") if name.startswith("bacula:F:"))
    guest.qmp("block-dirty-bitmap-remove", node="ide0-hd1", name=gone)
    result = bacula.run("VM", level="Incremental")
    why = (
        f"no bitmap of job {full.name}: the guest was restarted since and the bitmap was not"
        " persistent, the disk is new, or that job left none (it did not save the disk, or is a "
        "VirtualFull, a copied or a migrated job)"
    )
    expected = _backup_lines(bacula, result, "Incremental")
    expected[4] = expected[4].replace("Incremental", f"Full instead of Incremental ({why})")
    assert result.ok and _without_seconds(_own_lines(result)) == expected

    guest.restart()
    result = bacula.run("VM", level="Differential")
    expected = _backup_lines(bacula, result, f"Full instead of Differential ({why})")
    assert result.ok and _without_seconds(_own_lines(result)) == expected


def test_skipped_disk_is_said(make_bacula, make_guest, workdir):
    """A read-only disk is named; a CD-ROM is not worth a word."""
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", MIB)),
        Disk("fixed", make_image(workdir / "b.qcow2", MIB), readonly=True),
        Disk("cd", make_image(workdir / "c.raw", MIB, "raw"), "raw", "ide", cdrom=True),
    ]
    guest = make_guest(name="VM1", disks=disks)
    result = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}).run("VM")
    assert result.ok and _own_lines(result)[:2] == [
        "qemu: Start Backup vm: VM1 (0)",
        "qemu: Skipped VM1/fixed: it is read-only",
    ]
    assert "VM1/cd" not in result.log


def _slow_guest(make_guest, workdir, size, seconds):
    """Two disks: the dump of the first takes its time, that of the second none."""
    disks = [
        Disk(name, make_image(workdir / name, size, density=1), style="slow")
        for name in ("slow", "quick")
    ]
    guest = make_guest(name="VM1", disks=disks)
    guest.slow_down("slow", size // seconds)
    return guest


def _seconds(result):
    """Disk -> seconds that the log says its dump took."""
    found = re.findall(r"Dumped VM1/(\S+): .* in (\d+) seconds", result.log)
    return {disk: int(seconds) for disk, seconds in found}


@pytest.mark.parametrize("bacula_version", ["9.6.7"], indirect=True)
def test_progress_of_a_long_dump_is_in_the_trace(make_bacula, make_guest, workdir):
    """Every 10 seconds with -d 100; the job log hears of it every 10 minutes only."""
    guest = _slow_guest(make_guest, workdir, 12 * MIB, 12)
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    bacula = make_bacula(filesets={"VM": [line]}, fd_debug=100)
    begin = time.monotonic()
    result = bacula.run("VM")
    lasted = time.monotonic() - begin
    assert result.ok and "Dumping" not in result.log
    progress = re.findall(r"qemu: dumping VM1/slow: (\d+) of (\d+) bytes", bacula.fd_log())
    assert 1 <= len(progress) <= lasted // 10
    done, total = map(int, progress[0])
    assert 0.5 * 12 * MIB < done < total and 12 * MIB <= total < 14 * MIB
    assert 10 < _seconds(result)["slow"] <= lasted


@_one_version
def test_seconds_of_a_dump_are_its_own(make_bacula, make_guest, workdir):
    """A dump that ended while another one was waited for took no longer by that."""
    guest = _slow_guest(make_guest, workdir, 4 * MIB, 4)
    result = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}).run("VM")
    seconds = _seconds(result)
    assert result.ok and seconds["slow"] >= 3
    assert list(seconds) == ["slow", "quick"]
    assert seconds["quick"] <= seconds["slow"] // 2, result.log
