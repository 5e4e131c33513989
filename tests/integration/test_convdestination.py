"""convdestination=yes: each disk back into the guest's own image, in its format and size."""

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import time

import pytest
from harness import restored
from harness.bacula import Bacula
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image
from harness.guest import Guest
from harness.history import History
from harness.marks import one_version
from harness.process import run

_OPTIONS = {"convdestination": "yes"}
_ODD = 4 * MIB + 3 * SECTOR
_PATTERN = (0x5A, MIB, 64 * 1024)


def _back_up(bacula, guest, folder):
    """A Full and an Incremental; the guest ends before anything is restored."""
    history = History(bacula, guest, folder)
    history.backup("Full")
    for disk in guest.disks:
        guest.random_writes(disk, 10, seed=1)
        guest.write(disk, *_PATTERN)
    history.backup("Incremental")
    return history


def _plugin_line(guest):
    return [f"qemu: qmpcontrol={guest.qmp_socket}"]


def _restore(saved, **options):
    options = {"plugin_options": _OPTIONS, **options}
    return saved.bacula.restore(saved.jobids, "/", **options)


def _errors(job):
    return [line for line in restored.plugin_lines(job.log) if line.startswith("guest ")]


@pytest.fixture(scope="module")
def _shared(bacula_root, plugin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("convdestination")
    images = folder / "images"
    images.mkdir()
    base = make_image(folder / "base.qcow2", 8 * MIB, seed=1)
    overlay = make_image(images / "vda.qcow2", 8 * MIB, backing=(base, "qcow2"))
    disks = [
        Disk("vda", overlay),
        Disk("vdb", make_image(images / "vdb.raw", _ODD, "raw", seed=2), "raw"),
    ]
    os.chown(disks[0].path, 65534, 65534)
    os.chmod(disks[0].path, 0o640)
    with contextlib.ExitStack() as stack:
        guest = stack.enter_context(Guest(folder / "vm", disks=disks))
        bacula = Bacula(bacula_root, folder / "bacula", plugin=plugin,
                        filesets={"VM": _plugin_line(guest)}, fd_messages="all, !restored")
        stack.enter_context(bacula)
        saved = _back_up(bacula, guest, folder)
        guest.quit()
        yield saved
    shutil.rmtree(folder)


@pytest.fixture
def saved(_shared):
    """A guest that was backed up and is gone, with its images as somebody left them."""
    for disk in _shared.guest.disks.values():
        disk.path.unlink(missing_ok=True)
        disk.path.write_bytes(b"what was there")
        os.utime(disk.path, (1, 1))
    yield _shared
    assert _shared.bacula.fd_leftovers() == []


def _is_kept(disk):
    return disk.path.read_bytes() == b"what was there"


def _assert_converted(saved):
    """Content, size, format and no backing file, as qemu-img sees them without being told."""
    for name, disk in saved.guest.disks.items():
        assert_same(saved.contents[name], disk.path, disk.fmt)
        information = json.loads(run(["qemu-img", "info", "--output=json", disk.path]))
        assert information["format"] == disk.fmt
        assert "backing-filename" not in information
        if disk.fmt == "raw" and disk.path.is_file():
            assert disk.path.stat().st_size == saved.contents[name].stat().st_size


@contextlib.contextmanager
def _running(guest):
    guest.start()
    try:
        yield guest
    finally:
        guest.quit()


def _assert_guest_reads(guest):
    """The guest starts from its disks, and QEMU reads what was written before."""
    with _running(guest):
        for disk in guest.disks:
            guest.read(disk, *_PATTERN)


def _files_in_images(saved):
    return sorted(os.listdir(saved.guest.disks["vda"].path.parent))


def test_back_to_the_original_files(saved):
    """The guest runs again from its qcow2 and its raw image; nothing else is left there."""
    job = _restore(saved)
    assert job.ok
    disks = saved.guest.disks.values()
    lines = restored.plugin_lines(job.log)
    assert lines[:2] == [
        "VM to restore: vm (oid:0)", "Start Restore vm: vm (rid:0) devices: 2",
    ]
    assert lines[-2:] == [
        f"Converted device {disk.name} to {disk.fmt}: {disk.path}" for disk in disks
    ]
    _assert_converted(saved)
    assert _files_in_images(saved) == ["vda.qcow2", "vdb.raw"]
    _assert_guest_reads(saved.guest)


@one_version
def test_needs_no_working_directory(saved, make_tmpfs):
    """The images are put together beside the originals; without a qemu-nbd they would not fit."""
    small = make_tmpfs("small", MIB)
    job = _restore(saved, plugin_options={**_OPTIONS, "working": str(small)})
    assert job.ok and "written twice" not in job.log, job.log
    _assert_converted(saved)
    assert os.listdir(small) == [] and _files_in_images(saved) == ["vda.qcow2", "vdb.raw"]


def test_form_shows_and_chooses_no(saved):
    """What stands in the form counts: with "no" the originals stay as they are."""
    job = _restore(saved, plugin_options={"convdestination": "no"})
    assert job.ok and "Converted" not in job.log
    assert all(_is_kept(disk) for disk in saved.guest.disks.values())
    restored.assert_restored(saved.contents, saved.bacula.fd_working)
    shutil.rmtree(saved.bacula.fd_working / "@qemu")


def _owner(path):
    status = path.stat()
    return status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)


def test_owner_and_mode(saved):
    """Those of the file that is there, or else those that the backup noted (asks 44)."""
    vda, vdb = (disk.path for disk in saved.guest.disks.values())
    vda.unlink()
    os.chown(vdb, 65534, 65534)
    os.chmod(vdb, 0o604)
    assert _restore(saved).ok
    assert _owner(vda) == (65534, 65534, "0o640")
    assert _owner(vdb) == (65534, 65534, "0o604")


def test_link_to_the_image(saved):
    """A link stays a link: what it points to is replaced."""
    path = saved.guest.disks["vdb"].path
    real = saved.folder / "real.raw"
    real.write_bytes(b"what was there")
    path.unlink()
    path.symlink_to(real)
    assert _restore(saved).ok
    assert path.is_symlink()
    assert_same(saved.contents["vdb"], real, "raw")


def test_replace(saved):
    """Bacula's Replace holds for the original files, in Bacula's own words."""
    now = time.time()
    for replace, why in (("never", "Already exists"), ("ifnewer", "Not newer"),
                         ("ifolder", "Not older")):
        modified = now + 86400 if replace == "ifnewer" else 1
        for disk in saved.guest.disks.values():
            os.utime(disk.path, (modified, modified))
        job = _restore(saved, replace=replace)
        assert job.ok
        for disk in saved.guest.disks.values():
            assert f"qemu: Not restored: {saved.guest.name}/{disk.name}. File skipped. {why}: {disk.path}\n" in job.log
            assert (f"Restoring device: {disk.name}" in job.log) == (replace == "ifnewer")
            assert _is_kept(disk)
    for disk in saved.guest.disks.values():
        os.utime(disk.path, (1, 1))
    assert _restore(saved, replace="ifnewer").ok
    _assert_converted(saved)


def test_running_guest_is_not_overwritten(saved):
    """QEMU's lock on the images is seen, and the guest goes on undisturbed."""
    assert _restore(saved).ok
    with _running(saved.guest) as guest:
        job = _restore(saved)
        for disk in guest.disks:
            guest.read(disk, *_PATTERN)
    assert not job.ok
    for (name, disk), line in zip(guest.disks.items(), _errors(job), strict=True):
        assert line.startswith(f'guest "vm", disk "{name}": ')
        assert f'"{disk.path}" is in use by a running guest; stop the guest first' in line
    _assert_converted(saved)
    assert _files_in_images(saved) == ["vda.qcow2", "vdb.raw"]


def test_missing_directory(saved):
    """Said as such, not as an error of qemu-img."""
    folder = saved.guest.disks["vda"].path.parent
    folder.rename(folder.with_name("away"))
    try:
        job = _restore(saved)
        assert not job.ok
        assert len(_errors(job)) == 2
        for line in _errors(job):
            assert f'the directory "{folder}" is missing; make it' in line
        assert not folder.exists()
    finally:
        folder.with_name("away").rename(folder)


def test_one_disk_fails_and_the_other_is_overwritten(saved):
    """Then the guest's disks are from two moments, as docs/restore.md warns."""
    vda, vdb = saved.guest.disks.values()
    vdb.path.unlink()
    vdb.path.mkdir()
    try:
        job = _restore(saved)
    finally:
        vdb.path.rmdir()
    assert not job.ok
    (line,) = _errors(job)
    assert f'disk "vdb": "{vdb.path}" is neither a file nor a block device' in line
    assert f"Converted device vda to qcow2: {vda.path}" in job.log
    assert_same(saved.contents["vda"], vda.path, vda.fmt)


def test_what_a_killed_daemon_left(saved):
    """Beside the images: a dead job's unfinished image goes, a living one's stays."""
    folder = saved.guest.disks["vda"].path.parent
    dead, living = folder / "qemu-fd-7-abcdef", folder / "qemu-fd-8-abcdef"
    for left in (dead, living):
        left.mkdir(mode=0o700)
        (left / "image").write_bytes(b"half")
    held = os.open(living, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert _restore(saved).ok
        assert _files_in_images(saved) == ["qemu-fd-8-abcdef", "vda.qcow2", "vdb.raw"]
        assert (living / "image").read_bytes() == b"half"
    finally:
        os.close(held)
    assert _restore(saved).ok
    assert _files_in_images(saved) == ["vda.qcow2", "vdb.raw"]
    _assert_converted(saved)


def test_single_disk(saved):
    """The other disk's file is left alone; the catalog says where this one belongs."""
    job = _restore(saved, files=["/@qemu/vm/0/vdb.qcow2"])
    assert job.ok
    assert _is_kept(saved.guest.disks["vda"])
    assert_same(saved.contents["vdb"], saved.guest.disks["vdb"].path, "raw")


@contextlib.contextmanager
def _without_objects(bacula):
    """The catalog as a rebuilt one is: without restore objects of the plugin's own."""
    path = bacula.folder / "dir" / "bacula.db"
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
        database.execute("CREATE TABLE Kept AS SELECT * FROM RestoreObject WHERE ObjectType = 25")
        database.execute("DELETE FROM RestoreObject WHERE ObjectType = 25")
        database.commit()
        try:
            yield
        finally:
            database.execute("INSERT INTO RestoreObject SELECT * FROM Kept")
            database.execute("DROP TABLE Kept")
            database.commit()


def test_catalog_without_objects(saved):
    """config.json is enough (asks 50); without either, an error says what to do."""
    with _without_objects(saved.bacula):
        assert _restore(saved).ok
        _assert_converted(saved)
        job = _restore(saved, files=["/@qemu/vm/0/vdb.qcow2"])
        assert not job.ok
        (line,) = _errors(job)
        assert line.startswith('guest "vm", disk "vdb": the backup does not say which file it was; ')
        assert "restore its config.json as well" in line


@pytest.fixture
def on_devices(make_bacula, make_guest, make_loop_device, workdir):
    """The same with disks on block devices, of which one is larger than its disk."""
    files = [workdir / "plain.img", workdir / "lvm.img"]
    make_image(files[0], 4 * MIB, "raw", seed=1)
    run(["truncate", "-s", 8 * MIB, files[1]])
    plain, lvm = (make_loop_device(file) for file in files)
    run(["qemu-img", "create", "-q", "-f", "qcow2", lvm, 4 * MIB])
    guest = make_guest(disks=[Disk("vda", plain, "raw"), Disk("vdb", lvm, style="blockdev")])
    bacula = make_bacula(filesets={"VM": _plugin_line(guest)})
    saved = _back_up(bacula, guest, workdir)
    guest.quit()
    for file in files:
        with file.open("r+b") as content:
            content.write(b"junk" * MIB)
    yield saved
    assert bacula.fd_leftovers() == []


def test_back_to_block_devices(on_devices):
    """Raw and qcow2 straight on a device; what the device held before is gone."""
    job = _restore(on_devices)
    assert job.ok
    _assert_converted(on_devices)
    assert all(disk.path.is_block_device() for disk in on_devices.guest.disks.values())
    _assert_guest_reads(on_devices.guest)


@contextlib.contextmanager
def _mounted(device, folder):
    run(["mkfs.ext4", "-q", device])
    folder.mkdir()
    run(["mount", device, folder])
    try:
        yield
    finally:
        run(["umount", folder])


@one_version
def test_mounted_device(on_devices, workdir):
    """Refused, and the file system on it stays as it is."""
    device = on_devices.guest.disks["vda"].path
    with _mounted(device, workdir / "mounted"):
        (workdir / "mounted/file").write_text("precious")
        job = _restore(on_devices)
        assert (workdir / "mounted/file").read_text() == "precious"
    assert not job.ok
    (line,) = _errors(job)
    assert f'disk "vda": "{device}" is mounted or otherwise in use; unmount it first' in line
    run(["fsck.ext4", "-fn", device])


@one_version
def test_device_of_a_running_guest(on_devices):
    """A device is not written to while QEMU has it open."""
    assert _restore(on_devices).ok
    with _running(on_devices.guest) as guest:
        job = _restore(on_devices)
        for disk in guest.disks:
            guest.read(disk, *_PATTERN)
    assert not job.ok
    for disk, line in zip(guest.disks.values(), _errors(job), strict=True):
        assert f'"{disk.path}" is in use by a running guest; stop the guest first' in line
    _assert_converted(on_devices)


@one_version
def test_device_that_is_too_small(on_devices, workdir):
    """Both sizes are said."""
    device = on_devices.guest.disks["vda"].path
    os.truncate(workdir / "plain.img", MIB)
    run(["losetup", "--set-capacity", device])
    job = _restore(on_devices)
    assert not job.ok
    (line,) = _errors(job)
    assert f'"{device}" has {MIB} bytes, the disk {4 * MIB}; make the device larger' in line
