"""Every supported version of Bacula's plugin interface, through fd-host.

14 and 23 also run in real daemons, in the other tests; 21 and 22 only here.
fd-host fills with 0xa5 whatever the daemon leaves uninitialised, has its own
table of the numbers that differ between versions, and exits with 4 when the
plugin breaks a rule of the daemon.
"""

import json
import re
import subprocess

import pytest

from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FdHost

VERSIONS = (14, 21, 22, 23)
_FORM, _OBJECT = "RestoreOptions", "qemu-fd config"


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def guest(make_guest, workdir):
    disks = [
        Disk("vda", make_image(workdir / "a.qcow2", 16 * MIB, "qcow2", seed=1)),
        Disk("vdb", make_image(workdir / "b.raw", 8 * MIB + 512, "raw", seed=2), fmt="raw"),
    ]
    return make_guest(name="VM1", disks=disks)


@pytest.fixture
def host(version, workdir):
    return FdHost(workdir / "host", version)


def _line(guest, extra=""):
    return f"qemu: qmpcontrol={guest.qmp_socket}{extra}"


def _well(run):
    """The run's log, when every job of it ended well and broke no rule."""
    assert run.code == 0, run.log
    return run.log


def _write(guest, seed):
    for disk in guest.disks.values():
        guest.random_writes(disk, 8, seed=seed)


def _assert_restored(guest, folder):
    for disk in guest.disks.values():
        assert_same(guest.shadow(disk), folder / "@qemu/VM1/0" / f"{disk.name}.qcow2")


def _assert_nothing_left(guest, host):
    guest.assert_clean()
    assert host.leftovers() == []


def test_full_incremental_differential_and_restore(guest, host, workdir):
    """Every level's files, numbers and log lines; all chains restore identically."""
    line = _line(guest)
    log = _well(host.run(host.backup("full", line)))
    assert "JobId 1: qemu: Start Backup vm: VM1 (0)\n" in log
    assert "JobId 1: qemu: Finish backup of VM1/vda\n" in log
    assert "JobId 1: qemu: Finish backup of VM1/vdb\n" in log
    _write(guest, 1)
    _well(host.run(host.backup("first", line, "I", "full")))
    _write(guest, 2)
    _well(host.run(host.backup("second", line, "I", "first")))
    _well(host.run(host.restore(["full", "first", "second"], workdir / "by-increments")))
    _assert_restored(guest, workdir / "by-increments")
    _write(guest, 3)
    _well(host.run(host.backup("differential", line, "D", "full")))
    _well(host.run(host.restore(["full", "differential"], workdir / "by-differential")))
    _assert_restored(guest, workdir / "by-differential")

    image = "/@qemu/VM1/0/vdb.qcow2"
    jobs = ("full", "first", "second", "differential")
    assert [host.saved(job)[image]["delta_seq"] for job in jobs] == [0, 1, 2, 1]
    names = [_FORM, "/@qemu/VM1/0/config.json", "/@qemu/VM1/0/vda.qcow2", image, _OBJECT]
    assert [list(host.saved(job)) for job in jobs] == [names] * 4
    _assert_nothing_left(guest, host)


def test_restore_says_what_the_manual_promises(guest, host, workdir):
    """Lines of manual 6.3, with the increments that were patched in."""
    _well(host.run(host.backup("full", _line(guest))))
    _write(guest, 1)
    _well(host.run(host.backup("increment", _line(guest), "I", "full")))
    log = _well(host.run(host.restore(["full", "increment"], workdir / "restored")))
    said = re.findall(r"^JobId 3: qemu: (.*)$", log, re.M)
    assert said[0] == "VM local restore: VM1 (oid:0)"
    expected = [f"{what}: {disk}" for what in ("Restoring device", "Patching incremental")
                for disk in ("vda", "vdb")]
    assert sorted(said[1:]) == sorted(expected)


def test_restore_to_the_working_directory_and_the_form(guest, host, workdir):
    """where=/ leaves images and says where; the filled form changes the place.

    The form and the catalog's object come in packets whose layout differs
    between versions, and the form must end in a NUL that counts.
    """
    _well(host.run(host.backup("full", _line(guest))))
    form = host.saved("full")[_FORM]
    assert form["type"] == 27 and form["object"].endswith("\0")
    assert {"working=@STR@", "convdestination=@STR@"} <= set(form["object"].splitlines())
    other = workdir / "other"
    other.mkdir()
    log = _well(host.run(host.restore(["full"], options=[f"--form=working={other}"])))
    assert "qemu: VM to restore: VM1 (oid:0)" in log
    assert "qemu: Start Restore vm: VM1 (rid:0) devices: 2" in log
    assert f"qemu: Restored device vda is ready as: {other}/@qemu/VM1/0/vda.qcow2" in log
    _assert_restored(guest, other)
    assert host.leftovers() == []


def test_a_disk_alone_is_restored_with_what_the_catalog_knows(guest, host):
    """The restore object brings the guest's description although config.json is not chosen."""
    _well(host.run(host.backup("full", _line(guest))))
    chosen = ["--select=/@qemu/VM1/0/vdb.qcow2"]
    log = _well(host.run(host.restore(["full"], options=chosen)))
    assert "qemu: Start Restore vm: VM1 (rid:0) devices: 2\n" in log
    folder = host.working / "@qemu/VM1/0"
    assert_same(guest.shadow("vdb"), folder / "vdb.qcow2")
    assert [path.name for path in folder.iterdir()] == ["vdb.qcow2"]


def test_incremental_without_its_base_is_a_full_dump(guest, host, workdir):
    """The base is what PrevJobName says, whatever that variable's number is."""
    _well(host.run(host.backup("full", _line(guest))))
    log = _well(host.run(host.backup("lost", _line(guest), "I", "never-was")))
    assert log.count("Full instead of Incremental (") == 2
    _well(host.run(host.restore(["lost"], workdir / "restored")))
    _assert_restored(guest, workdir / "restored")


def test_replace_never(guest, host, workdir):
    """Replace, too, has another number in every version; so has a skipped file's line."""
    _well(host.run(host.backup("full", _line(guest))))
    _well(host.run(host.restore(["full"], workdir / "restored")))
    _write(guest, 1)
    _well(host.run(host.backup("again", _line(guest))))
    log = _well(host.run(host.restore(["again"], workdir / "restored", ["--replace=n"])))
    assert log.count("Skipped: qemu: File skipped. Already exists: ") == 1
    assert log.count(" qemu: Not restored: VM1/vd") == 2
    with pytest.raises(AssertionError):
        _assert_restored(guest, workdir / "restored")


def test_estimate_and_listing(guest, host):
    """What estimate and .ls show; neither touches the guest nor disturbs the Director."""
    line = _line(guest)
    log = _well(host.run(host.estimate(line)))
    sizes = {name: int(size) for size, name in re.findall(r"^- +(\d+) /@qemu/VM1/0/(\S+)$", log, re.M)}
    assert set(sizes) == {"config.json", "vda.qcow2", "vdb.qcow2"}
    assert MIB < sizes["vdb.qcow2"] < 8 * MIB, "a quarter of it is allocated"
    assert f"2000 OK estimate files=3 bytes={sum(sizes.values())}\n" in log
    assert guest.bitmaps("vda") == {}

    _well(host.run(host.backup("full", line)))
    guest.write("vdb", 7, MIB, 64 * 1024)
    log = _well(host.run(host.estimate(line, "I", "full")))
    assert re.search(r"^- +65536 /@qemu/VM1/0/vdb.qcow2$", log, re.M), log

    assert re.findall(r"^d +0 (\S+)$", _well(host.run(host.estimate(line + " listing=/"))), re.M) == [
        "vm", "vmid"]  # fmt: skip
    total = 24 * MIB + 512
    assert f"{total} VM1\n" in _well(host.run(host.estimate(line + " listing=/vm")))
    assert f"{total} 0 -> VM1\n" in _well(host.run(host.estimate(line + " listing=vmid")))
    _assert_nothing_left(guest, host)


def test_query(guest, host, version):
    """`.query`, which came with 21."""
    for parameter in ("vm", "vmid"):
        run = host.run(host.query(_line(guest), parameter))
        if version == 14:
            assert run.code == 1 and "interface 14 has no query" in run.log
        else:
            assert "}]\n" in run.log  # a line of its own
            assert json.loads(_well(run).splitlines()[0]) == [{"name": "VM1", "vmid": 0}]
    if version != 14:
        answer = _well(host.run(host.query(_line(guest), "moon"))).splitlines()[0]
        assert "moon" in json.loads(answer)["error"]


def test_accurate_mode_asks_check_file(guest, host):
    """Files of a guest that was not backed up stay; those of a disk that is gone do not."""
    names = ["/@qemu/VM1/0/gone.qcow2", "/@qemu/VM1/0/vda.qcow2", "/@qemu/other/0/vda.qcow2", "/etc/x"]
    checks = [f"--check={name}" for name in names]
    log = _well(host.run(host.backup("full", _line(guest), options=checks)))
    assert re.findall(r"^(seen|deleted): ", log, re.M) == ["deleted", "seen", "seen", "deleted"]


def test_messages_have_the_right_weight(guest, host):
    """FATAL, ERROR and WARNING are other numbers from 22 on."""
    run = host.run(host.backup("unknown", _line(guest, " colour=blue")))
    assert run.code == 1 and 'Fatal error: qemu: Plugin line: unknown parameter "colour"' in run.log
    assert "ended: f, 1 errors" in run.log
    guest.kill()
    run = host.run(host.backup("gone", _line(guest)))
    assert run.code == 1 and re.search("^JobId .: Error: qemu: guest ", run.log, re.M)
    assert re.search("^JobId .: Fatal error: qemu: nothing was saved ", run.log, re.M)
    assert "ended: f, 2 errors" in run.log
    run = host.run(host.backup("abort", _line(guest, " abort_on_error=1")))
    assert run.code == 1 and "Fatal error: qemu: guest " in run.log
    assert host.leftovers() == []


def test_cancel_on_another_thread(guest, host, workdir):
    """The cancel event comes while the job is busy; nothing stays, and the chain goes on."""
    _well(host.run(host.backup("full", _line(guest))))
    _write(guest, 1)
    cancel = ['--when="execute":"transaction"', "--cancel"]
    run = host.run(host.backup("cancelled", _line(guest), "I", "full", options=cancel))
    assert run.code == 1 and "ended: A, 0 errors" in run.log, run.log
    _assert_nothing_left(guest, host)
    assert len(guest.bitmaps("vda")) == len(guest.bitmaps("vdb"))
    assert not [name for name in guest.bitmaps("vda") if name.endswith("cancelled")]
    _write(guest, 2)
    log = _well(host.run(host.backup("next", _line(guest), "I", "full")))
    assert "Full instead" not in log
    _well(host.run(host.restore(["full", "next"], workdir / "restored")))
    _assert_restored(guest, workdir / "restored")


def test_jobs_of_one_daemon(guest, host):
    """Several jobs of one daemon know nothing of each other."""
    line = _line(guest)
    log = _well(host.run(host.backup("a", line), host.backup("b", line), host.backup("c", line, "I", "a")))
    assert "Full instead" not in log
    assert all(name.split(":")[-1] in "abc" for name in guest.bitmaps("vda") if name.startswith("bacula:"))


@pytest.mark.parametrize("offered", [1, 13, 15, 20, 24, 99, 4294967295])
def test_other_versions_are_refused(offered, workdir):
    """A daemon of an unknown version gets no table that it would misread."""
    run = FdHost(workdir / "host", offered).run(["load"])
    assert run.code == 3
    assert run.log.strip() == (
        f"qemu-fd: the File Daemon offers plugin interface version {offered}; supported are 14 "
        "(Bacula 9.0 to 9.6), 21 (11.0), 22 (11.3 and 13) and 23 (15)"
    )


def test_supported_versions_are_accepted(host):
    assert _well(host.run(["load"])) == "JobId 1: load ended: T, 0 errors\n"


def test_two_exported_symbols(plugin):
    """One file for all versions, which shows nothing else to a daemon full of plugins."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", plugin], check=True, capture_output=True, text=True
    ).stdout
    assert sorted(line.split()[-1] for line in listed.splitlines()) == ["loadPlugin", "unloadPlugin"]
