"""Reschedule On Error: a job that failed since its guest was away runs again, and is a good one."""

import re

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, sequences, wait_for_dump
from harness.process import PATIENCE, wait_until

_RESCHEDULE = ("Reschedule On Error = yes", "Reschedule Interval = 2", "Reschedule Times = 10")
_RAN_AGAIN = r"Rescheduled Job (\S+) at "


def _guest(make_guest, workdir):
    image = make_image(workdir / "disk.raw", 2 * MIB, "raw", seed=1)
    return make_guest("VM1", disks=[Disk("vda", image, "raw", style="slow")])


def _next_job(bacula, jobid):
    """The end of the job that runs this one again under another number."""
    wait_until(lambda: bacula.catalog.job(jobid + 1), PATIENCE, "the job that runs it again")
    return bacula.wait(jobid + 1)


@pytest.fixture
def history(make_bacula, make_guest, workdir):
    """A good Full of a guest whose job is run again when it fails."""
    guest = _guest(make_guest, workdir)
    lines = [f"qemu: qmpcontrol={guest.qmp_socket}"]
    bacula = make_bacula(filesets={"VM": lines}, extra_job_lines=_RESCHEDULE)
    made = History(bacula, guest, workdir)
    made.backup("Full")
    return made


def test_guest_that_comes_back(history):
    """Its monitor is there again when the job runs again: under the same number, and incremental."""
    guest, bacula = history.guest, history.bacula
    guest.random_writes("vda", 5, seed=2)
    history.note_contents()
    away = guest.qmp_socket.with_name("away")
    guest.qmp_socket.rename(away)
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_until(lambda: re.search(_RAN_AGAIN, bacula.joblog(jobid)), PATIENCE, "the job to fail")
    away.rename(guest.qmp_socket)
    wait_until(lambda: re.search(r"Termination: +Backup OK$", bacula.joblog(jobid), re.M), PATIENCE,
               "the job to run again")
    result = bacula.wait(jobid)
    assert "last_FI" not in result.log
    assert result.status == "T", result.log
    assert sequences(bacula, result) == {"vda": 1}
    history.take(result)
    history.assert_restores()


def test_guest_that_ends_half_way(history):
    """Its job had saved config.json by then: Bacula runs it again under a number of its own."""
    guest, bacula = history.guest, history.bacula
    guest.random_writes("vda", 5, seed=2)
    guest.slow_down("vda", MIB // 4)
    jobid = bacula.run("VM", "Incremental", wait=False)
    wait_for_dump(guest, jobid, share=0.05)
    guest.kill()
    failed = bacula.wait(jobid)
    assert failed.status == "f" and 'guest "VM1", disk "vda": ' in failed.log, failed.log
    guest.start()
    history.note_contents()
    again = _next_job(bacula, jobid)
    while again.status == "f":  # the guest was not there yet
        again = _next_job(bacula, again.jobid)
    assert again.status == "T", again.log
    assert sequences(bacula, again) == {"vda": 0}  # QEMU was started anew
    history.take(again)
    history.assert_restores()
