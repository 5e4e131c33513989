"""convdestination=yes writes back only what was read: whole, alone, in the clear, and where it was.

Every case is refused at the restore, was said at the backup, and leaves what is there as it is.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import restored
from harness.archives import CONFIG, Archives, saved_archives
from harness.disk import MIB, Disk, assert_same, make_image
from harness.marks import one_version
from harness.monitor import Monitor
from harness.process import PATIENCE, Failure, run, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))
from old_qemu import OldQemu  # noqa: E402

_TO_ORIGINAL = {"convdestination": "yes"}
_SECRET = ["--object", "secret,id=key,data=wallpaper"]
_MACHINE = (
    "-machine pc -accel tcg -m 64 -display none -nodefaults -no-user-config -boot order=n,strict=on"
).split()
_ELSEWHERE = "; restore to a directory (where=/some/path)"


def _line(socket_path):
    return f"qemu: qmpcontrol={socket_path}"


def _blockdev(**node):
    return ["-blockdev", json.dumps({name.replace("_", "-"): value for name, value in node.items()})]


def _device(name):
    return ["-device", f"virtio-blk-pci,drive={name}"]


def _file(path):
    return {"driver": "file", "filename": str(path)}


def _made_with_a_key(*arguments):
    """QEMU measures how long a key takes, and on a busy machine may find no time at all."""
    made = ["qemu-img", "create", "-q", *_SECRET, *map(str, arguments)]
    wait_until(lambda: not subprocess.run(made, check=False, capture_output=True).returncode, PATIENCE, "a LUKS image")


def _restore(bacula, job, **options):
    return bacula.restore(job.jobid, "/", plugin_options={**_TO_ORIGINAL, **options})


def _said(log, disk):
    """Why convdestination will not do for a disk, as the backup says."""
    start = f"/{disk} can be restored, but not with convdestination: "
    return [line.split(start)[1] for line in restored.plugin_lines(log) if start in line]


def _refused(log, disk):
    """Why it was refused in a restore."""
    start = f'disk "{disk}": '
    return [line.split(start)[1] for line in restored.plugin_lines(log) if start in line]


def _bytes_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What lies between a disk and its file

_WINDOW = "it is a window into its file, which holds more (offset=, size=)"
_CIPHER = "its file is encrypted or stands on one that is, and what is saved of it is not"
_LAYERS = "its image is not one file of one format"
_TEMPORARY = "its file is a temporary one, deleted already (-snapshot)"


def _window(folder):
    path = make_image(folder / "window.raw", 4 * MIB, "raw", seed=1)
    return _blockdev(driver="raw", offset=MIB, size=2 * MIB, file=_file(path), node_name="window")


def _tail(folder):
    """An offset alone, by -drive and below a throttle as Proxmox 9 has it."""
    path = make_image(folder / "tail.raw", 4 * MIB, "raw", seed=2)
    return ["-object", "throttle-group,id=limits", *_blockdev(
        driver="throttle", throttle_group="limits", node_name="tail",
        file={"driver": "raw", "offset": MIB, "file": _file(path)})]


def _window_over_qcow2(folder):
    path = make_image(folder / "over.qcow2", 4 * MIB, seed=3)
    image = {"driver": "qcow2", "file": _file(path)}
    return _blockdev(driver="raw", offset=MIB, size=2 * MIB, file=image, node_name="over")


def _raw_over_qcow2(folder):
    path = make_image(folder / "plain.qcow2", 4 * MIB, seed=4)
    return _blockdev(driver="raw", file={"driver": "qcow2", "file": _file(path)}, node_name="plain")


def _encrypted_qcow2(folder):
    path = folder / "cipher.qcow2"
    _made_with_a_key("-f", "qcow2", "-o",
                     "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", path, "2M")
    return ["-drive", f"if=none,id=cipher,file={path},format=qcow2,encrypt.key-secret=key"]


def _luks(folder):
    path = folder / "luks.img"
    _made_with_a_key("-f", "luks", "-o", "key-secret=key,iter-time=10", path, "2M")
    return ["-drive", f"if=none,id=luks,file={path},format=luks,key-secret=key"]


def _raw_over_luks(folder):
    path = Path(shutil.copy(folder / "luks.img", folder / "below.img"))
    below = {"driver": "luks", "key-secret": "key", "file": _file(path)}
    return _blockdev(driver="raw", file=below, node_name="below")


def _overlay_over_encrypted(folder):
    """Its own clusters are in the clear; what it has not is deciphered from the base."""
    base = Path(shutil.copy(folder / "cipher.qcow2", folder / "base.qcow2"))
    path = folder / "overlay.qcow2"
    run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", path, "2M"])
    below = {"driver": "qcow2", "encrypt": {"format": "luks", "key-secret": "key"}, "file": _file(base)}
    return _blockdev(driver="qcow2", backing=below, file=_file(path), node_name="overlay")


def _snapshot(folder):
    path = make_image(folder / "snapshot.qcow2", 4 * MIB, seed=5)
    return ["-drive", f"if=none,id=snapshot,file={path},format=qcow2,snapshot=on"]


def _data_file(folder):
    path = folder / "data.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={folder / 'data.raw'}", path, "2M"])
    return ["-drive", f"if=none,id=data,file={path},format=qcow2"]


_KINDS = {
    "window": (_window, _WINDOW),
    "tail": (_tail, _WINDOW),
    "over": (_window_over_qcow2, _WINDOW),
    "plain": (_raw_over_qcow2, _LAYERS),
    "cipher": (_encrypted_qcow2, _CIPHER),
    "luks": (_luks, _CIPHER),
    "below": (_raw_over_luks, _CIPHER),
    "overlay": (_overlay_over_encrypted, _CIPHER),
    "snapshot": (_snapshot, _TEMPORARY),
    "data": (_data_file, _LAYERS),
}


def _temporary_files(guest):
    """Where QEMU had its temporary overlays, which it removed as soon as it had them open."""
    targets = [os.readlink(link) for link in Path(f"/proc/{guest.pid}/fd").iterdir()]
    return [Path(target.removesuffix(" (deleted)")) for target in targets
            if Path(target).name.startswith("vl.")]


@one_version
def test_what_is_not_a_whole_file(make_bacula, make_guest, workdir):
    """Each kind is refused, none of its bytes changes; the ordinary disks beside them come back."""
    folder = workdir / "images"
    folder.mkdir()
    extra = ["-object", _SECRET[1]]
    for name, (make, _) in _KINDS.items():
        extra += [*make(folder), *_device(name)]
    ordinary = [Disk("vda", make_image(workdir / "vda.qcow2", 2 * MIB, seed=6)),
                Disk("vdb", make_image(workdir / "vdb.raw", 2 * MIB, "raw", seed=7), "raw", style="blockdev")]
    guest = make_guest(disks=ordinary, extra=extra)
    bacula = make_bacula(filesets={"VM": [_line(guest.qmp_socket)]})
    full = bacula.run("VM")
    assert full.status == "T", full.log
    for name, (_, reason) in _KINDS.items():
        assert _said(full.log, name) == [reason], name
    assert not _said(full.log, "vda") and not _said(full.log, "vdb")
    contents = restored.snapshots(guest)
    temporary = _temporary_files(guest)
    guest.quit()
    before = _bytes_of(folder)
    for disk in ordinary:
        disk.path.unlink()
    job = _restore(bacula, full)
    assert not job.ok
    for name, (_, reason) in _KINDS.items():
        assert _refused(job.log, name) == [reason + _ELSEWHERE], name
    assert _bytes_of(folder) == before
    assert temporary and not any(path.exists() for path in temporary)
    for disk in ordinary:
        assert f"Converted device {disk.name} to {disk.fmt}: {disk.path}" in job.log
        assert_same(contents[disk.name], disk.path, disk.fmt)
    where = workdir / "restored"
    assert bacula.restore(full.jobid, where).ok
    assert len(list(where.rglob("*.qcow2"))) == len(_KINDS) + len(ordinary)
    said = {disk["drive"]: disk.get("write_back") for disk in restored.config(where)["disks"]}
    assert said["vda"] == said["vdb"] == "yes"
    assert said["window"] == "window" and said["cipher"] == "encrypted" and said["plain"] == "layers"
    assert "wallpaper" not in full.log + job.log


# Where the file is


class _Daemon:
    """A QEMU that its command line alone describes, started in a directory and left to itself."""

    def __init__(self, folder, arguments, cwd, prefix=()):
        self.qmp_socket = folder / "qmp"
        argv = ["qemu-system-x86_64", *_MACHINE, "-name", "VM1", "-daemonize",
                "-pidfile", folder / "pid", *arguments]
        for name in ("qmp", "test"):
            argv += ["-qmp", f"unix:{folder / name},server=on,wait=off"]
        run([*prefix, *argv], cwd=cwd)
        self._pid = int((folder / "pid").read_text())
        self.monitor = Monitor(folder / "test")

    def write(self, disk, pattern):
        """The first 64 KiB of a disk."""
        self.monitor.human([f'qemu-io {disk} "write -q -P {pattern} 0 64k"'])

    def quit(self):
        """End it, and wait until it is gone."""
        if not self._pid:
            return
        pid, self._pid = self._pid, 0
        with contextlib.suppress(Failure):
            self.monitor.execute("quit")
        self.monitor.close()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE, "QEMU's end")


@pytest.fixture
def make_daemon(public_folder):
    """Start a QEMU of the test's own: make_daemon(arguments, cwd)."""
    with contextlib.ExitStack() as stack:

        def make(arguments, cwd, prefix=()):
            daemon = _Daemon(public_folder, arguments, cwd, prefix)
            stack.callback(daemon.quit)
            return daemon

        yield make


def _reads(path, pattern, fmt="qcow2"):
    printed = run(["qemu-io", "-f", fmt, "-r", "-c", f"read -P {pattern} 0 64k", path])
    return "verification failed" not in printed


@one_version
def test_a_daemon_with_relative_names(make_bacula, make_daemon, workdir):
    """QEMU stands in / then: the files are those that it has open, in whichever folder."""
    names = {"a": "disk.qcow2", "b": "other/disk.qcow2", "c": "../beside/disk2.qcow2", "d": "link.qcow2"}
    home = workdir / "home"
    for folder in (home, home / "other", workdir / "beside"):
        folder.mkdir()
    arguments = []
    for disk, name in names.items():
        path = (home / name).resolve()
        if disk == "d":
            path.symlink_to(make_image(home / "real.qcow2", MIB))
        else:
            make_image(path, MIB)
        arguments += ["-drive", f"if=none,id={disk},file={name},format=qcow2", *_device(disk)]
    daemon = make_daemon(arguments, home)
    for pattern, disk in enumerate(names, 1):
        daemon.write(disk, pattern)
    bacula = make_bacula(filesets={"VM": [_line(daemon.qmp_socket)]})
    full = bacula.run("VM")
    assert full.status == "T"
    several = "which file it is cannot be told: several that QEMU has open could be it"
    none = "which file it is cannot be told: QEMU has none open that has its name here"
    assert [_said(full.log, disk) for disk in names] == [[several], [], [], [none]]
    for disk in names:
        daemon.write(disk, 99)
    daemon.quit()
    before = _bytes_of(home)
    at_root = set(os.listdir("/"))
    job = _restore(bacula, full)
    assert not job.ok
    assert set(os.listdir("/")) == at_root
    assert _refused(job.log, "a") == [several + _ELSEWHERE]
    assert _refused(job.log, "d") == [none + _ELSEWHERE]
    assert _reads(home / "other/disk.qcow2", 2) and _reads(workdir / "beside/disk2.qcow2", 3)
    after = _bytes_of(home)
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed == {"disk.qcow2"} and before[home / "disk.qcow2"] == after[home / "disk.qcow2"]


def _chroot_option(folder):
    """As this QEMU calls it; -chroot went in 9.0."""
    old = "-chroot" in run(["qemu-system-x86_64", "-help"])
    return ["-chroot", folder] if old else ["-run-with", f"chroot={folder}"]


@one_version
def test_a_daemon_in_a_root_of_its_own(make_bacula, make_daemon, workdir):
    """It opened its disks before it went there; a file of the same name there is not touched."""
    jail = workdir / "jail"
    jail.mkdir()
    for folder in (workdir, jail):
        for name in ("vda.qcow2", "vdb.qcow2"):
            make_image(folder / name, MIB)
    arguments = _chroot_option(jail)
    for disk, name in (("vda", "vda.qcow2"), ("vdb", workdir / "vdb.qcow2")):
        arguments += ["-drive", f"if=none,id={disk},file={name},format=qcow2", *_device(disk)]
    daemon = make_daemon(arguments, workdir)
    bacula = make_bacula(filesets={"VM": [_line(daemon.qmp_socket)]})
    for pattern, disk in enumerate(("vda", "vdb"), 1):
        daemon.write(disk, pattern)
    full = bacula.run("VM")
    assert full.status == "T" and "convdestination" not in full.log
    for disk in ("vda", "vdb"):
        daemon.write(disk, 99)
    daemon.quit()
    before = _bytes_of(jail)
    assert _restore(bacula, full).ok
    assert _reads(workdir / "vda.qcow2", 1) and _reads(workdir / "vdb.qcow2", 2)
    assert _bytes_of(jail) == before


@one_version
def test_relative_names_where_qemu_stayed(make_bacula, make_guest, workdir, monkeypatch):
    """Names as the owner knows them; two of one name are told apart by the folder."""
    (workdir / "a").mkdir()
    disks = [Disk("vda", make_image(workdir / "disk.qcow2", MIB, seed=1)),
             Disk("vdb", make_image(workdir / "a/disk.qcow2", MIB, seed=2))]
    relative = [Disk(disk.name, disk.path.relative_to(workdir)) for disk in disks]
    monkeypatch.chdir(workdir)
    guest = make_guest(disks=relative)
    bacula = make_bacula(filesets={"VM": [_line(guest.qmp_socket)]})
    full = bacula.run("VM")
    contents = restored.snapshots(guest)
    assert "convdestination" not in full.log
    guest.quit()
    for disk in disks:
        disk.path.write_bytes(b"junk")
    assert _restore(bacula, full).ok
    for disk in disks:
        assert_same(contents[disk.name], disk.path)


@one_version
def test_a_name_that_is_another_file_to_qemu(make_bacula, make_daemon, workdir):
    """In a mount name space of its own QEMU's disk.qcow2 is not ours, which stays as it is."""
    theirs, ours = workdir / "theirs", workdir / "ours"
    theirs.mkdir()
    ours.mkdir()
    make_image(theirs / "disk.qcow2", MIB, seed=1)
    make_image(ours / "disk.qcow2", MIB, seed=2)
    inside = f'mount --bind "{theirs}" "{ours}" && exec "$@"'
    own_mounts = Path(__file__).parent / "harness/own_mounts.py"
    arguments = ["-drive", f"if=none,id=vda,file={ours}/disk.qcow2,format=qcow2", *_device("vda")]
    daemon = make_daemon(arguments, workdir, [sys.executable, own_mounts, "sh", "-c", inside, "sh"])
    bacula = make_bacula(filesets={"VM": [_line(daemon.qmp_socket)]})
    full = bacula.run("VM")
    none = "which file it is cannot be told: QEMU has none open that has its name here"
    assert full.status == "T" and _said(full.log, "vda") == [none]
    daemon.quit()
    before = _bytes_of(ours) | _bytes_of(theirs)
    job = _restore(bacula, full)
    assert not job.ok and _refused(job.log, "vda") == [none + _ELSEWHERE]
    assert _bytes_of(ours) | _bytes_of(theirs) == before


@one_version
def test_a_monitor_that_a_manager_made(make_bacula, workdir, public_folder, monkeypatch):
    """As libvirt passes its sockets on: not who listened, but who answers has the files open."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(public_folder / "made"))
    listener.listen(1)
    path = make_image(workdir / "vda.qcow2", MIB, seed=1)
    fd = listener.fileno()
    (workdir / "managers").mkdir()
    monkeypatch.chdir(workdir / "managers")  # where its own relative names would lead
    os.set_inheritable(fd, True)
    process = subprocess.Popen(
        ["qemu-system-x86_64", *_MACHINE, "-name", "VM1",
         "-chardev", f"socket,id=monitor,fd={fd},server=on,wait=off", "-mon", "chardev=monitor,mode=control",
         "-drive", f"if=none,id=vda,file={path.name},format=qcow2", *_device("vda")],
        cwd=workdir, close_fds=False)
    try:
        bacula = make_bacula(filesets={"VM": [_line(public_folder / "made")]})
        full = bacula.run("VM")
        assert full.status == "T" and "convdestination" not in full.log
    finally:
        process.terminate()
        process.wait(60)
        listener.close()
    content = path.with_name("copy.qcow2")
    path.rename(content)
    assert _restore(bacula, full).ok
    run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, content])
    where = workdir / "restored"
    assert bacula.restore(full.jobid, where).ok
    command_line = restored.config(where, "VM1")["guest"]["command_line"]
    assert command_line[0] == "qemu-system-x86_64"


@one_version
def test_something_stands_before_qemu(make_bacula, make_guest, workdir, public_folder):
    """Then the lock that QEMU has on a file must do; a file without one may be any."""
    locked = make_image(workdir / "vda.qcow2", MIB, seed=1)
    loose = make_image(workdir / "vdb.qcow2", MIB, seed=2)
    loose_file = {"driver": "file", "filename": str(loose), "locking": "off"}
    extra = [*_blockdev(driver="qcow2", node_name="vdb", file=loose_file), *_device("vdb")]
    guest = make_guest(name="VM1", disks=[Disk("vda", locked)], extra=extra)
    with OldQemu(public_folder / "proxy", guest.qmp_socket, "4.1") as proxy:
        bacula = make_bacula(filesets={"VM": [_line(proxy.path)]})
        full = bacula.run("VM")
    hidden = ("which file it is cannot be told: the File Daemon may not look at QEMU's open files")
    assert full.status == "T", full.log
    assert not _said(full.log, "vda") and _said(full.log, "vdb") == [hidden]
    content = guest.snapshot("vda")
    guest.quit()
    locked.unlink()
    before = loose.read_bytes()
    job = _restore(bacula, full)
    assert not job.ok and _refused(job.log, "vdb") == [hidden + _ELSEWHERE]
    assert loose.read_bytes() == before
    assert_same(content, locked)


# What leans on the file


def _overlay(path, backing, fmt="qcow2"):
    """An image whose header names its backing file so; nobody looks whether it is there."""
    run(["qemu-img", "create", "-q", "-u", "-f", fmt, "-b", backing, "-F", "qcow2", path, "1M"])


def test_an_image_that_others_stand_on(make_bacula, make_guest, workdir):
    """Replaced it would make a disk of two moments: only when the form says so."""
    folder = workdir / "images"
    folder.mkdir()
    base = make_image(folder / "base.qcow2", MIB, seed=1)
    (folder / "link.qcow2").symlink_to(base)
    os.mkfifo(folder / "fifo")  # whoever opens it waits for ever
    guest = make_guest(disks=[Disk("vda", base)])
    bacula = make_bacula(filesets={"VM": [_line(guest.qmp_socket)]})
    full = bacula.run("VM")
    content = guest.snapshot("vda")
    guest.random_writes("vda", 3, seed=2)
    guest.quit()
    before = base.read_bytes()
    as_json = "json:" + json.dumps({"driver": "qcow2", "file": _file(base)})
    for fmt, name in [("qcow2", "base.qcow2"), ("qcow2", "../images/link.qcow2"), ("qcow2", as_json),
                      ("qcow", base), ("qed", "base.qcow2")]:
        overlay = folder / "snap1"
        run(["qemu-img", "create", "-q", "-u", "-f", fmt, "-b", name, "-F", "qcow2", overlay, "1M"])
        job = _restore(bacula, full)
        assert not job.ok
        assert _refused(job.log, "vda") == [
            f'"{overlay}" has "{base}" as its backing file, and would be a disk of two moments with an '
            "older one; restore to a directory (where=/some/path), or choose replace_base=yes in the "
            "plugin options when the overlay is not needed any more"
        ], (fmt, name)
        assert base.read_bytes() == before
    assert _restore(bacula, full, replace_base="yes").ok
    assert_same(content, base)
    assert bacula.fd_leftovers() == []


@one_version
def test_an_image_that_was_encrypted_since(make_bacula, make_guest, workdir):
    """The guest would be in the clear from then on, or not start."""
    path = make_image(workdir / "vda.qcow2", MIB, seed=1)
    guest = make_guest(disks=[Disk("vda", path)])
    bacula = make_bacula(filesets={"VM": [_line(guest.qmp_socket)]})
    full = bacula.run("VM")
    guest.quit()
    with path.open("r+b") as image:
        image.seek(32)
        image.write((2).to_bytes(4, "big"))  # crypt_method: LUKS
    before = path.read_bytes()
    job = _restore(bacula, full)
    assert not job.ok
    assert _refused(job.log, "vda") == [f'"{path}" is encrypted, and what is saved of it is not' + _ELSEWHERE]
    assert path.read_bytes() == before


# Backups of older versions, which say nothing


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the archives "full" and "increment", and what they must restore."""
    with saved_archives(tmp_path_factory.mktemp("older")) as saved:
        yield saved


@pytest.fixture
def older(saved, workdir):
    """Restores to `outside` as from a backup of an older version: older(format, name)."""
    with contextlib.closing(Archives(workdir, saved[0])) as archives:

        def restore(fmt, file):
            def change(description):
                (disk,) = description["disks"]
                disk.pop("write_back", None)
                disk.update(format=fmt, file=str(file))

            archives.rewrite_config(change)
            log = archives.restore("/", convdestination="yes")
            return [line for line in log.splitlines() if 'guest "VM1", disk "vda": ' in line]

        yield archives, restore


def test_older_backups_of_ordinary_disks(older, saved):
    """A raw image of the disk's size and a qcow2 image are written back as before."""
    archives, restore = older
    for fmt in ("raw", "qcow2"):
        path = make_image(archives.outside / "disk", MIB, fmt, seed=9)
        assert restore(fmt, path) == []
        assert_same(saved[1], path, fmt)


@pytest.mark.parametrize("kind, reason", [
    ("window", "bytes, the disk 1048576: its backup, of an older version, does not say whether it was all"),
    ("over", "is a qcow2 image, and the disk was raw: its backup, of an older version, does not say how"),
    ("temporary", _TEMPORARY),
    ("daemon", "its backup is of an older version, which did not see where"),
])
def test_older_backups_of_doubtful_disks(older, kind, reason):
    """What is there, or its name, tells; nothing is changed."""
    archives, restore = older
    path = archives.outside / "disk"
    if kind == "window":
        make_image(path, 2 * MIB, "raw", seed=9)
    elif kind == "over":
        make_image(path, MIB, seed=9)
    elif kind == "temporary":
        path = archives.outside / "vl.a1B2c3"
    else:
        path = f"/{archives.outside}/new"
    before = _bytes_of(archives.outside)
    (line,) = restore("qcow2" if kind == "temporary" else "raw", path)
    assert reason in line
    assert _bytes_of(archives.outside) == before


def test_a_volume_cannot_say_yes(saved, workdir):
    """The catalog says that a disk is a window; a changed config.json says that it is none."""
    with contextlib.closing(Archives(workdir, saved[0])) as archives:
        path = make_image(archives.outside / "disk", 2 * MIB, "raw", seed=9)

        def change(word):
            return lambda description: description["disks"][0].update(
                write_back=word, format="raw", file=str(path))

        archives.rewrite_objects(change("window"))
        config = archives.data("increment", CONFIG)
        description = json.loads(config.read_text())
        change("yes")(description)
        archives.replace("increment", CONFIG, json.dumps(description).encode())
        before = path.read_bytes()
        log = archives.restore("/", convdestination="yes")
        assert _WINDOW in log
        assert 'it says otherwise than the catalog whether disk "vda" may be written back' in log
        assert path.read_bytes() == before
