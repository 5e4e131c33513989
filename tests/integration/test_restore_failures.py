"""Restores that cannot end well: what they say, and that they leave no image."""

import contextlib
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from harness import restored
from harness.disk import MIB, Disk, make_image
from harness.marks import one_version
from harness.pace import wait_within
from harness.process import PATIENCE, run, wait_until
from harness.vm1 import FILES, restored_files


def test_missing_parts(vm1, workdir):
    """An error names the part, and no image has its final name (asks 56)."""
    cases = {
        (0, 2): "part 2 came where part 1 should be",
        (1,): "part 1 came without part 0",
        (2,): "part 2 came without part 0",
        (2, 1): "part 2 came without part 0",
    }
    for number, (chosen, missing) in enumerate(cases.items()):
        where = workdir / f"restored-{number}"
        job = vm1.bacula.restore_exactly([vm1.jobids[index] for index in chosen], where)
        assert not job.ok
        for disk in vm1.contents:
            assert f'Error: qemu: guest "VM1", disk "{disk}": {missing}; restore' in job.log
        assert restored_files(where) == FILES[:1]


@contextlib.contextmanager
def _cancelled(bacula, jobid):
    """Look at what a cancel brings while the daemons still say goodbye.

    Bacula 15 may take 20 seconds for that, and the console waits for it.
    """
    thread = threading.Thread(target=bacula.cancel, args=[jobid])
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert bacula.wait(jobid).status == "A"


def test_cancel_while_data_comes(vm1, workdir):
    """A restore that is cancelled half-way leaves nothing."""
    where = workdir / "restored"
    names = ["/@qemu/VM1/0/ide0-hd0.qcow2"]
    vm1.bacula.limit_bandwidth("500kb/s")
    try:
        jobid = vm1.bacula.restore(vm1.jobids, where, wait=False, files=names)
        wait_until(lambda: list(where.glob("*/0.qcow2")), PATIENCE, "data")
        with _cancelled(vm1.bacula, jobid):
            wait_within(lambda: restored.files(where) == [], 10, "an empty folder")
        assert restored.files(where) == []
    finally:
        vm1.bacula.limit_bandwidth("0")


def test_storage_daemon_dies(own_vm1, workdir):
    """To the File Daemon it looks like the end of the data: no older state gets the name."""
    where = workdir / "restored"
    own_vm1.bacula.limit_bandwidth("500kb/s")
    own_vm1.bacula.restore(own_vm1.jobids, where, wait=False)
    wait_until(lambda: list(where.glob("*/0.qcow2")), PATIENCE, "data")
    own_vm1.bacula.kill_sd()
    wait_until(lambda: not list(where.glob("qemu-fd-*")), PATIENCE, "the end of the restore")
    assert not [name for name in restored_files(where) if name.endswith(".qcow2")]


def test_bad_disk_costs_only_itself(vm1, workdir):
    """One disk lacks a part: the other is restored all the same."""
    where = workdir / "restored"
    lost = (vm1.jobids[1], "/@qemu/VM1/0/ide0-hd0.qcow2")
    job = vm1.bacula.restore_exactly(vm1.jobids, where, leave_out=[lost])
    assert not job.ok
    assert 'disk "ide0-hd0": part 2 came where part 1 should be' in job.log
    assert 'disk "ide0-hd1"' not in job.log
    assert restored_files(where) == [FILES[0], FILES[2]]
    restored.assert_restored({"ide0-hd1": vm1.contents["ide0-hd1"]}, where, "VM1")


def test_parts_that_the_director_leaves_out(vm1, workdir):
    """Of Full and second Incremental the Director sends the Full only: not the state asked for."""
    where = workdir / "restored"
    job = vm1.bacula.restore([vm1.jobids[0], vm1.jobids[2]], where)
    assert "Something is wrong with the Delta sequence" in job.transcript
    assert not job.ok
    for disk in vm1.contents:
        assert f'Error: qemu: guest "VM1", disk "{disk}": part 1' in job.log
    assert restored_files(where) == FILES[:1]


@pytest.mark.parametrize("whole_parts", [0, 1])
def test_full_destination(vm1, make_tmpfs, whole_parts):
    """No room for a part, or for what it makes larger: a clear line and no image (asks 33)."""
    path = "/@qemu/VM1/0/ide0-hd0.qcow2"
    sizes = [
        file.size
        for jobid in vm1.jobids[:whole_parts]
        for file in vm1.bacula.list_files(jobid)
        if file.path == path
    ]
    where = make_tmpfs("small", sum(sizes) + 64 * 1024)
    job = vm1.bacula.restore(vm1.jobids, where, files=[path])
    assert not job.ok
    (error,) = re.findall(r"Error: qemu: (.*)", job.log)
    assert error.startswith(f'guest "VM1", disk "ide0-hd0": part {whole_parts}: ')
    assert "No space left on device" in error
    assert restored.files(where) == []


def test_unusable_destinations(vm1, make_tmpfs, workdir):
    """A file system that is read-only, a file in the way, a link planted: said once, in one line."""
    outside = workdir / "outside"
    outside.mkdir()
    planted = workdir / "planted"
    planted.mkdir()
    (planted / "@qemu").symlink_to(outside)
    in_the_way = workdir / "file"
    in_the_way.touch()
    read_only = make_tmpfs("read-only", MIB)
    run(["mount", "-o", "remount,ro", read_only])
    cases = {
        read_only: "Read-only file system",
        read_only / "below": "Read-only file system",
        in_the_way: "not a directory",
        planted: '/@qemu" is in the way: it is not a directory',
    }
    names = ["/@qemu/VM1/0/ide0-hd0.qcow2"]
    for where, why in cases.items():
        job = vm1.bacula.restore(vm1.jobids, where, files=names)
        assert not job.ok
        errors = [line for line in job.log.splitlines() if "Error: qemu: " in line]
        assert len(errors) == 1 and why.lower() in errors[0].lower(), errors
    assert os.listdir(outside) == [] and os.listdir(planted) == ["@qemu"]


@one_version
@pytest.mark.parametrize("server", [True, False], ids=["qemu-nbd", "commit"])
def test_cancel_while_an_image_is_patched(make_bacula, make_guest, workdir, server):
    """qemu-nbd, which a part goes through, is ended with the job; and so is qemu-img."""
    started, programs = workdir / "started", workdir / "bin"
    programs.mkdir()
    holding = f"echo $$ >{started}; exec {shutil.which('sleep')} 600"
    _write_script(programs / "qemu-img", f"""
        case "$1" in commit) {holding};; esac
        exec {shutil.which('qemu-img')} "$@"
    """)
    if server:
        _write_script(programs / "qemu-nbd", holding)
    guest = make_guest(disks=[Disk("vda", make_image(workdir / "vda.qcow2", MIB))])
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, fd_env={"PATH": str(programs)}
    )
    jobids = [bacula.run("VM").jobid]
    guest.write("vda", 1, 0, 65536)
    jobids.append(bacula.run("VM", level="Incremental").jobid)
    where = workdir / "restored"
    jobid = bacula.restore(jobids, where, files=["/@qemu/vm/0/vda.qcow2"], wait=False)
    wait_until(lambda: started.exists() and started.read_text(), PATIENCE, "its start")
    child = Path(f"/proc/{started.read_text().strip()}")
    with _cancelled(bacula, jobid):
        wait_within(lambda: not child.exists(), 10, "its end")
        wait_within(lambda: restored.files(where) == [], 10, "an empty folder")
    assert restored.files(where) == []


def _write_script(path, text):
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
