"""A working directory that two File Daemons share over mounts that pass no locks on, as two hosts or containers may."""

import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from harness.disk import MIB, Disk, make_image
from harness.history import History, wait_for_dump
from harness.marks import one_version
from harness.process import run, wait_until

_SIZE = 12 * MIB


@pytest.fixture
def mounts(workdir):
    """Two mounts of one directory by a FUSE file system: each keeps its locks to itself."""
    if not shutil.which("bindfs") or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no bindfs, or no FUSE, here")
    shared = workdir / "shared"
    shared.mkdir()
    views = [workdir / name for name in ("view-1", "view-2")]
    for view in views:
        view.mkdir()
        run(["bindfs", shared, view])
    yield shared, views
    for view in views:
        # A QEMU that has just ended may still be letting go of a dump.
        wait_until(lambda view=view: subprocess.run(["umount", view], check=False).returncode == 0, 60,
                   "the end of a mount")


@pytest.fixture
def sites(mounts, make_bacula, make_guest, workdir):
    """A Bacula with a guest on each mount."""
    shared, views = mounts
    found = []
    for view in views:
        name = f"VM{len(found)}"
        disk = Disk("slow", make_image(workdir / f"{name}.qcow2", _SIZE, seed=1), style="slow")
        guest = make_guest(name=name, disks=[disk])
        bacula = make_bacula(f"bacula-{name}",
                             filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket} working={view}"]})
        (workdir / f"restored-{name}").mkdir()
        found.append(SimpleNamespace(bacula=bacula, guest=guest,
                                     history=History(bacula, guest, workdir / f"restored-{name}")))
    return SimpleNamespace(shared=shared, first=found[0], second=found[1])


def _start_slowly(site):
    """A Full that is half-way."""
    site.guest.write("slow", 7, 0, _SIZE)
    site.history.note_contents()
    site.guest.slow_down("slow", MIB // 8)
    jobid = site.bacula.run("VM", "Full", wait=False)
    wait_for_dump(site.guest, jobid)
    return jobid


@one_version
def test_a_living_jobs_folder_stays(sites):
    """A job on the other mount, of the same number, does not take its dump away."""
    first, second = sites.first, sites.second
    jobid = _start_slowly(first)
    (folder,) = sites.shared.iterdir()
    assert second.history.backup("Full").jobid == jobid
    assert list(sites.shared.iterdir()) == [folder] and (folder / "0.qcow2").exists()
    first.guest.slow_down("slow")
    result = first.bacula.wait(jobid)
    assert result.ok, result.log
    first.history.take(result)
    first.history.assert_restores()
    assert not list(sites.shared.iterdir())


@one_version
def test_a_dead_jobs_folder_goes(sites):
    """It is seen that its File Daemon is no more."""
    first, second = sites.first, sites.second
    _start_slowly(first)
    first.bacula.kill_fd()
    assert list(sites.shared.iterdir())
    second.history.backup("Full")
    assert not list(sites.shared.iterdir())
    first.guest.slow_down("slow")
    first.bacula.start_fd()
    first.history.backup("Full")
    first.bacula.kill_director()  # which would wait for the job of the File Daemon that was killed
