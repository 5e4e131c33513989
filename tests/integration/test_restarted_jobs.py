"""A job that is stopped and restarted (the console's stop and restart incomplete) keeps its name and its number.

What its earlier run saved may be in the catalog beside what the later one saves.
"""

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, dumped, sequences
from harness.marks import one_version
from harness.process import PATIENCE, wait_until

_WHY = "this job was stopped and restarted, and the catalog may have parts of its earlier run"


def _disks(workdir, count, size=MIB):
    names = [f"d{number}" for number in range(count)]
    return [Disk(name, make_image(workdir / f"{name}.qcow2", size, seed=1)) for name in names]


def _stop(bacula, jobid):
    """Stop a job; its result."""
    assert "marked to be stopped" in bacula.console(f"stop jobid={jobid} yes")
    stopped = bacula.wait(jobid)
    assert stopped.status == "I", stopped.log
    return stopped


def _restart(bacula, stopped):
    """Restart a stopped job; its result, with the log of this run only."""
    assert "Job queued" in bacula.console(f"restart incomplete jobid={stopped.jobid} yes")
    wait_until(lambda: bacula.catalog.job(stopped.jobid).status in "TWEfA", PATIENCE, "the restarted job")
    wait_until(
        lambda: bacula.joblog(stopped.jobid).count("Termination:") == 2, PATIENCE, "the report of its end"
    )
    result = bacula.wait(stopped.jobid)
    assert result.status == "T", result.log
    return result, result.log[len(stopped.log) :]


def _restored(history, where):
    """Restore what the Director calls current, and compare it."""
    bacula = history.bacula
    output = bacula.console(f"restore fileset=VM client=fd where={where} select current all done yes")
    jobid = int(output.partition("JobId=")[2].split()[0])
    result = bacula.wait(jobid)
    assert result.ok, result.log
    assert "Delta sequence" not in output, output
    history.assert_same(where)


def test_stopped_in_a_disk(make_bacula, make_guest, workdir, bacula_version):
    """Disks that the first run has saved are not mistaken for those of the second, which are whole."""
    accurate = bacula_version == "15.0.3"  # it changes nothing
    last = Disk("last", make_image(workdir / "last.qcow2", 6 * MIB, seed=2))
    guest = make_guest(name="VM1", disks=[*_disks(workdir, 4), last])
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, accurate=accurate)
    history = History(bacula, guest, workdir)
    history.backup("Full")
    for name in guest.disks:
        guest.random_writes(name, 30 if name == "last" else 2, seed=1)
    bacula.limit_bandwidth("900 kb/s")
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_until(lambda: "Dumped VM1/last" in bacula.joblog(jobid), PATIENCE, "the last disk to be sent")
    stopped = _stop(bacula, jobid)
    caught = sequences(bacula, stopped)  # how much of it, if any, the catalog kept
    assert not any(stopped.name in bitmap for name in guest.disks for bitmap in guest.bitmaps(name))
    bacula.limit_bandwidth()
    for name in guest.disks:
        guest.random_writes(name, 2, seed=2)
    history.note_contents()
    result, log = _restart(bacula, stopped)
    if caught:
        assert log.count("Full instead of Incremental (" + _WHY) == len(guest.disks), log
        assert set(sequences(bacula, result).values()) == {0}
    _restored(history, workdir / "restarted")

    for name in guest.disks:
        guest.random_writes(name, 2, seed=3)
    history.note_contents()
    after = bacula.run("VM", "Incremental")
    assert {level for level, _, _ in dumped(after).values()} == {"Incremental"}, after.log
    assert {number - sequences(bacula, result)[name] for name, number in sequences(bacula, after).items()} == {1}
    _restored(history, workdir / "after")
    history.assert_nothing_left()


def test_stopped_after_all_was_sent(make_bacula, make_guest, workdir):
    """The bitmaps of the first run have the name that the second run's must have."""
    guest = make_guest(name="VM1", disks=_disks(workdir, 2, 4 * MIB))
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("d0", 4, seed=1)
    sent, go = workdir / "sent", workdir / "go"
    script = workdir / "after.sh"
    script.write_text(f"touch {sent}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n")
    bacula.set_job_lines(f'Client Run After Job = "/bin/sh {script}"')
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_until(sent.exists, PATIENCE, "the job to have sent all")
    assert "marked to be stopped" in bacula.console(f"stop jobid={jobid} yes")
    go.touch()
    stopped = bacula.wait(jobid)
    assert stopped.status == "I", stopped.log
    assert any(stopped.name in bitmap for bitmap in guest.bitmaps("d0"))
    bacula.set_job_lines()
    guest.random_writes("d0", 4, seed=2)
    history.note_contents()
    _, log = _restart(bacula, stopped)
    assert log.count("Full instead of Incremental (" + _WHY) == 2 and "rror: qemu" not in log, log
    _restored(history, workdir / "restarted")

    guest.random_writes("d0", 4, seed=3)
    history.note_contents()
    after = bacula.run("VM", "Incremental")
    assert sequences(bacula, after) == {"d0": 1, "d1": 1}, after.log
    _restored(history, workdir / "after")
    history.assert_nothing_left()


@one_version
def test_bitmaps_of_a_run_that_died(make_bacula, make_guest, workdir):
    """A job of this name has left its bitmaps, and the Director knows nothing of it: this one must not end well.

    What it does not save would else be a base.
    """
    guest = make_guest(name="VM1", disks=_disks(workdir, 1))
    bacula = make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]})
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("d0", 2, seed=1)
    sent, go = workdir / "sent", workdir / "go"
    script = workdir / "before.sh"
    script.write_text(f"touch {sent}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n")
    bacula.set_job_lines(f'Client Run Before Job = "/bin/sh {script}"')
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_until(sent.exists, PATIENCE, "the job to begin")
    name = bacula.catalog.job(jobid).unique_name
    (own,) = (name for name in guest.bitmaps("d0") if name.startswith("bacula:"))
    left = own.replace("bacula:F:0", "bacula:I:1").replace(own.rpartition(":")[2], name)
    guest.qmp("block-dirty-bitmap-add", node="d0", name=left)
    go.touch()
    failed = bacula.wait(jobid)
    bacula.set_job_lines()
    assert failed.status == "f", failed.log
    assert (
        'Fatal error: qemu: guest "VM1": disk "d0": this job has backed it up already; name each guest on one Plugin '
        "line only; if it is on one, an earlier run of this job has died" in failed.log
    )
    result = history.backup()
    assert sequences(bacula, result) == {"d0": 1}
    history.assert_restores()


@one_version
@pytest.mark.long  # the Director notices the File Daemon's end after a minute
def test_rescheduled_after_the_file_daemon_was_killed(make_bacula, make_guest, workdir):
    """Bacula runs the job again under its name, and it fails rather than be a base for what it has not saved."""
    guest = make_guest(name="VM1", disks=_disks(workdir, 1, 4 * MIB))
    again = ["Reschedule On Error = yes", "Reschedule Interval = 2s", "Reschedule Times = 1"]
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, extra_job_lines=again
    )
    history = History(bacula, guest, workdir)
    history.backup("Full")
    guest.random_writes("d0", 20, seed=1)
    bacula.limit_bandwidth("300 kb/s")
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_until(lambda: "Dumped VM1/d0" in bacula.joblog(jobid), PATIENCE, "the disk to be sent")
    bacula.kill_fd()
    bacula.start_fd()
    bacula.limit_bandwidth()
    wait_until(lambda: bacula.joblog(jobid).count("Termination:") == 2, 150, "the second run's end")
    failed = bacula.wait(jobid)
    assert failed.status == "f" and "this job has backed it up already" in failed.log, failed.log
    result = history.backup()
    assert sequences(bacula, result) == {"d0": 1}
    history.assert_restores()
