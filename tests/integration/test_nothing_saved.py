"""A job that saved nothing of any guest fails, and so does a restore that brought no disk.

What lost a part only ends as T, with JobErrors in the catalog: docs/backup.md says how to find it.
"""

import contextlib
import re
import time
from pathlib import Path

import pytest
from harness import restored
from harness.disk import BAD_OFFSET, MIB, Disk, make_image
from harness.history import History
from harness.process import PATIENCE, wait_until
from harness.vm1 import FILES, restored_files

_VAIN = "nothing was saved of any guest, so the job fails; see the lines above"
_NO_DISK = "no disk was restored, so the job fails; see the lines above"


def _guest(make_guest, workdir, name, count=2):
    disks = [
        Disk(f"d{number}", make_image(workdir / f"{name}-{number}.raw", MIB, "raw", number + 1), "raw")
        for number in range(count)
    ]
    return make_guest(name, disks=disks)


@contextlib.contextmanager
def _away(*guests):
    """Their monitors are not where they were."""
    for guest in guests:
        guest.qmp_socket.rename(guest.qmp_socket.with_name("away"))
    try:
        yield
    finally:
        for guest in guests:
            guest.qmp_socket.with_name("away").rename(guest.qmp_socket)


def _line(guest):
    return f"qemu: qmpcontrol={guest.qmp_socket}"


def _fatal(result):
    return re.findall(r"^fd JobId \d+: Fatal error: qemu: (.*)", result.log, re.M)


def _of_the_page(start):
    """A query as it stands in the documentation."""
    page = Path(__file__).resolve().parents[2] / "docs" / "backup.md"
    (query,) = re.findall(f"`({start} [^`]*)`", page.read_text())
    return query


def _listed(bacula, command):
    """Job ids in a table that bconsole prints."""
    return [int(jobid) for jobid in re.findall(r"^\| +(\d+) ", bacula.console(command), re.M)]


def test_job_that_saves_nothing_fails(make_bacula, make_guest, workdir):
    """Also when its lines are several; the next job builds on the last good one."""
    one, two = (_guest(make_guest, workdir, name) for name in ("one", "two"))
    plain = workdir / "plain"
    plain.write_text("of the host")
    bacula = make_bacula(filesets={"VM": [_line(one), _line(two)], "mixed": [_line(one), plain]})
    history = History(bacula, one, workdir, "VM")
    full = history.backup("Full")
    one.random_writes(one.disks["d0"], 5, seed=3)
    with _away(one, two):
        failed = bacula.run("VM", "Incremental")
        mixed = bacula.run("mixed")
    for result, guests in ((failed, 2), (mixed, 1)):
        assert bacula.list_files(result.jobid) == []  # nor the file beside the guest
        assert result.status == "f" and _fatal(result) == [_VAIN], result.log
        assert len(re.findall(r"^fd JobId \d+: Error: qemu: guest .*: cannot connect", result.log, re.M)) == guests
    assert "(no bitmap" not in history.backup().log, "it builds on the Full"
    assert {name.split(":")[-1] for name in one.bitmaps("d0")} == {job.name for job in history.chain}
    assert full.ok
    history.assert_restores()


def test_job_that_lost_some(make_bacula, make_guest, workdir):
    """It ends as T, and the query of docs/backup.md finds it among those that lost nothing."""
    one, two, bare = (
        _guest(make_guest, workdir, name, count) for name, count in (("one", 2), ("two", 1), ("bare", 0))
    )
    lines = {"two": [_line(one), _line(two)], "bare": [_line(one), _line(bare)]}
    bacula = make_bacula(filesets=lines)
    good = [bacula.run(job) for job in lines]
    with _away(one):
        lost = [bacula.run(job) for job in lines]
    with _away(one, two):
        failed = bacula.run("two")
    assert all(result.ok for result in good), good
    for result in lost:
        assert (result.status, result.errors, _fatal(result)) == ("T", 1, []), result.log
        assert "Backup OK -- with warnings" in result.log
    assert failed.status == "f"
    jobids = [result.jobid for result in lost]
    assert _listed(bacula, _of_the_page("list jobs")) == jobids
    rows = bacula.catalog.ask(_of_the_page("SELECT"))
    assert [(row[0], row[3]) for row in rows] == [*((jobid, "T") for jobid in jobids), (failed.jobid, "f")]


def test_config_of_a_guest_without_disks_is_enough(make_bacula, make_guest, workdir):
    """There was nothing else to save, and nothing else to restore."""
    bare = _guest(make_guest, workdir, "bare", 0)
    bacula = make_bacula(filesets={"VM": [_line(bare)]})
    backup = bacula.run("VM")
    assert backup.ok, backup.log
    restore = bacula.restore(backup.jobid, workdir / "restored")
    assert restore.ok, restore.log
    assert restored.files(workdir / "restored") == ["@qemu/bare/0/config.json"]


def test_restore_without_any_disk_fails(vm1, workdir):
    """A part is missing of all that were selected, which the Director leaves out or sends."""
    first, _, last = vm1.jobids
    left_out = vm1.bacula.restore([first, last], workdir / "left-out")
    assert left_out.status == "f" and _fatal(left_out) == [_NO_DISK], left_out.log
    sent = vm1.bacula.restore_exactly([first, last], workdir / "sent")
    assert sent.status == "E" and "Restore Error" in sent.log, sent.log
    for name in ("left-out", "sent"):
        assert restored_files(workdir / name) == FILES[:1]


def test_restore_of_a_guest_that_lost_all(make_bacula, make_guest, workdir):
    """To Bacula it looks as if nobody had chosen its disk: a warning; nothing to write back: a failure."""
    path = make_image(workdir / "fragile.raw", BAD_OFFSET + MIB, "raw", 1)
    lost = make_guest("lost", disks=[Disk("only", path, "raw", style="fragile")])
    lost.write("only", 1, BAD_OFFSET, 65536)
    other = _guest(make_guest, workdir, "other", 1)
    bacula = make_bacula(filesets={"VM": [f"{_line(guest)} transaction=disk" for guest in (lost, other)]})
    backup = bacula.run("VM")
    assert (backup.status, backup.errors) == ("T", 1), backup.log
    files = [file.path for file in bacula.list_files(backup.jobid) if "/lost/" in file.path]
    assert [Path(file).name for file in files] == ["config.json"]
    lost.quit()
    aside = bacula.restore(backup.jobid, workdir / "restored", files=files)
    assert "Warning: qemu: Not restored: lost/only, of which no part came" in aside.log
    back = bacula.restore(backup.jobid, "/", files=files, plugin_options={"convdestination": "yes"})
    assert back.status == "f" and _fatal(back) == [_NO_DISK], back.log


def test_restore_of_one_disk_of_two(vm1, workdir):
    """One came whole: its errors are all that is said."""
    where = workdir / "restored"
    skipped = [(vm1.jobids[0], f"/{FILES[1]}")]
    job = vm1.bacula.restore_exactly(vm1.jobids, where, leave_out=skipped)
    assert job.status == "E" and _fatal(job) == [], job.log
    assert restored_files(where) == [FILES[0], FILES[2]]


@pytest.mark.parametrize("replace", ["never", "ifnewer"])
def test_what_replace_leaves_alone(replace, vm1, workdir):
    """The second restore brings nothing, as it was asked to: no failure, and a line a disk.

    Restored files have the time of the backup, so ifnewer sees that nothing is newer.
    """
    where = workdir / "restored"
    begun = time.time()
    wait_until(lambda: time.time() > begun + 1.1, PATIENCE, "the next second")
    assert vm1.bacula.restore(vm1.jobids, where).ok
    for name in FILES:
        assert (where / name).stat().st_mtime <= begun, name
    again = vm1.bacula.restore(vm1.jobids, where, replace=replace)
    assert again.ok, again.log
    why = {"never": "Already exists", "ifnewer": "Not newer"}[replace]
    said = re.findall(r"^fd JobId \d+: qemu: Not restored: (.*)", again.log, re.M)
    assert said == [
        f"VM1/{disk}. File skipped. {why}: {where}/@qemu/VM1/0/{disk}.qcow2" for disk in vm1.contents
    ]
    assert ("Restoring device" in again.log) == (replace == "ifnewer")  # else it is known before
    only_config = vm1.bacula.restore(vm1.jobids, where, files=[f"/{FILES[0]}"])
    assert only_config.ok, only_config.log


def test_older_state_and_newer_one(own_vm1, workdir):
    """With ifnewer the state of an earlier job leaves the image of a later one alone, and not the other way."""
    where = workdir / "restored"
    first, rest = own_vm1.jobids[:1], own_vm1.jobids
    begun = time.time()
    wait_until(lambda: time.time() > begun + 1.1, PATIENCE, "the next second")
    own_vm1.backup()
    assert own_vm1.bacula.restore(first, where).ok
    newer = own_vm1.bacula.restore(own_vm1.jobids, where, replace="ifnewer")
    assert newer.ok and "Not restored" not in newer.log, newer.log
    restored.assert_restored(own_vm1.contents, where, "VM1")
    older = own_vm1.bacula.restore(rest, where, replace="ifnewer")
    assert older.ok and older.log.count("Not restored: VM1/ide0-hd") == 2, older.log
    restored.assert_restored(own_vm1.contents, where, "VM1")
