"""How qemu-img and qemu-nbd are run: without a shell, with an environment of its own, told every format."""

import os

import pytest
from harness import restored
from harness.disk import MIB, Disk, make_image
from harness.marks import one_version
from harness.recorder import QemuImgRecorder

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What says the formats of all images that a command opens or makes.
_FORMATS = {
    "create": ("-f",),
    "check": ("-f",),
    "info": ("-f",),
    "resize": ("-f",),
    "commit": ("-f",),
    "rebase": ("-f", "-F"),
    "convert": ("-f", "-O"),
}
# What patches an increment in that is not taken apart as it comes.
_PATCHING = {"commit", "rebase"}
_SERVER = "--socket"  # the first argument of every qemu-nbd
_TOLD = "qemu-img {} ended with status 3: qemu-img: warning: first qemu-img: told so"


@pytest.fixture
def server():
    """Whether the host has a qemu-nbd."""
    return True


@pytest.fixture
def recorder(workdir, server):
    return QemuImgRecorder(workdir / "bin", server)


@pytest.fixture
def guest(make_guest, workdir):
    (workdir / "images").mkdir()
    disks = [
        Disk("vda", make_image(workdir / "images/vda.qcow2", 2 * MIB, seed=1)),
        Disk("vdb", make_image(workdir / "images/vdb.raw", 2 * MIB, "raw", seed=2), "raw"),
    ]
    return make_guest(disks=disks)


@pytest.fixture
def bacula(make_bacula, guest, recorder):
    return make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, fd_env=recorder.environment
    )


def _chain(bacula, guest):
    """A Full and an Incremental of disks that grew."""
    jobs = [bacula.run("VM").jobid]
    for disk in guest.disks:
        guest.random_writes(disk, 5, seed=1)
        guest.resize(disk, 3 * MIB)  # what has data where a raw disk grew is dumped in full
    jobs.append(bacula.run("VM", level="Incremental").jobid)
    return jobs


def _assert_well_run(record):
    program, command, *arguments = record["argv"]
    if command == _SERVER:
        assert os.path.basename(program) == "qemu-nbd"
        image = arguments[-1]
        assert arguments[arguments.index("--format") + 1] == image.rpartition(".")[2], record
        arguments = arguments[-1:]
    else:
        assert os.path.basename(program) == "qemu-img"
        for option in _FORMATS[command]:
            assert arguments[arguments.index(option) + 1] in ("qcow2", "raw"), record
    assert record["environment"] == [_PATH, "LC_ALL=C"]
    assert os.path.basename(record["parent"]) == "bacula-fd", "somebody else ran it: a shell?"
    # The one that lists them, and the script that Python reads.
    assert set(record["descriptors"]) <= {0, 1, 2, 3, 4}
    values = {"-f", "-F", "-O", "-o", "-b"}
    for before, argument in zip(["", *arguments], arguments):
        plain = not argument.startswith("-") and before not in values
        assert not plain or argument.isdigit() or argument.startswith("/"), record


@pytest.mark.parametrize("server", [True, False], ids=["qemu-nbd", "none"])
def test_every_run(bacula, guest, recorder, workdir, server):
    """Through a chain, a restore of it to a folder, and one to the original files."""
    jobs = _chain(bacula, guest)
    contents = restored.snapshots(guest)
    guest.quit()
    assert bacula.restore(jobs, workdir / "restored").ok
    restored.assert_restored(contents, workdir / "restored")
    assert bacula.restore(jobs, "/", plugin_options={"convdestination": "yes"}).ok
    records = recorder.records()
    for record in records:
        _assert_well_run(record)
    commands = [record["argv"][1] for record in records]
    patching = {_SERVER} if server else _PATCHING
    needless = {"info", "convert"} if server else set()  # an original is put together beside it
    assert set(commands) == set(_FORMATS) - _PATCHING - needless | patching
    assert all(commands.count(command) == (5 if server else 4) for command in patching)
    assert commands.count("create") == 4 and commands.count("convert") == (0 if server else 2)


@one_version
def test_a_device_is_written_as_raw(make_bacula, make_guest, make_loop_device, recorder, workdir):
    """Whatever is on it, and though it need not be made."""
    device = make_loop_device(make_image(workdir / "disk.img", 2 * MIB, "raw", seed=1))
    guest = make_guest(disks=[Disk("vda", device, "raw")])
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]}, fd_env=recorder.environment
    )
    full = bacula.run("VM")
    guest.quit()
    assert bacula.restore(full.jobid, "/", plugin_options={"convdestination": "yes"}).ok
    (convert,) = (record for record in recorder.records() if record["argv"][1] == "convert")
    _assert_well_run(convert)
    assert "-n" in convert["argv"] and convert["argv"][-1] == str(device)


@one_version
@pytest.mark.parametrize("command", ["create", "check"])
def test_a_backup_says_what_qemu_img_said(bacula, guest, recorder, command):
    """All lines of its standard error are in the job log."""
    recorder.fail(command)
    job = bacula.run("VM")
    assert job.errors, job.log
    assert _TOLD.format(command) in job.log
    guest.assert_clean()
    assert bacula.fd_leftovers() == []


@one_version
@pytest.mark.parametrize(
    "server, command",
    [(True, _SERVER)]
    + [(False, command) for command in ("check", "convert", "info", "resize", "rebase", "commit")],
)
def test_a_restore_says_what_qemu_img_said(bacula, guest, recorder, workdir, command):
    """The same, and no disk is half restored."""
    jobs = _chain(bacula, guest)
    guest.quit()
    before = {name: disk.path.read_bytes() for name, disk in guest.disks.items()}
    recorder.fail(command)
    job = bacula.restore(jobs, "/", plugin_options={"convdestination": "yes"})
    assert not job.ok
    for name, disk in guest.disks.items():
        assert f'disk "{name}": ' in job.log, job.log
        (line,) = (line for line in restored.plugin_lines(job.log) if f'disk "{name}": ' in line)
        told = _TOLD.format(command)
        assert (told.replace("qemu-img --socket", "qemu-nbd") if command == _SERVER else told) in line
        assert disk.path.read_bytes() == before[name]
    assert sorted(os.listdir(workdir / "images")) == ["vda.qcow2", "vdb.raw"]
    assert bacula.fd_leftovers() == []


@one_version
def test_a_dump_that_names_other_files(bacula, guest, recorder, workdir):
    """QEMU writes the dumps, and may be its guest's by then: qemu-img does not follow them."""
    secret = workdir / "secret"
    secret.write_bytes(bytes(2 * MIB))
    recorder.plant(secret)
    job = bacula.run("VM")
    assert job.status == "f", job.log
    for disk in ("vda", "vdb"):
        assert f'disk "{disk}": the dump that QEMU wrote: it names a backing file' in job.log
    assert "check" not in [record["argv"][1] for record in recorder.records()]
    assert bacula.list_files(job.jobid) == []  # nothing was saved but config.json, so it failed
    assert guest.bitmaps("vda") == {} and guest.bitmaps("vdb") == {}
    guest.assert_clean()
