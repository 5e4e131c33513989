"""Every kind of disk is backed up and restored; what is no disk is left out."""

import re

import pytest
from harness import restored, streaming
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image, virtual_size
from harness.process import PATIENCE, run, wait_until

_ODD = 4 * MIB + 3 * SECTOR  # no multiple of 64 KiB, an odd number of sectors


def _disk(workdir, name, fmt="qcow2", interface="virtio", style="drive", size=4 * MIB, **options):
    image = make_image(workdir / f"{name}.{fmt}", size, fmt, seed=len(name), **options)
    return Disk(name, image, fmt, interface, style)


def _write(guest, seed):
    for name, disk in guest.disks.items():
        if not disk.readonly:
            guest.random_writes(name, 10, seed)


@pytest.fixture(params=["dumped", *streaming.VERSIONS])
def way(request):
    """How its disks are read: ({the guest's QEMU}, what the Plugin line says of it, its word in the log)."""
    if request.param == "dumped":
        return {}, " transfer=dump", "Dumped"
    return {"binary": streaming.need_qemu(request.param)}, " transfer=stream", "Streamed"


def _back_up_and_restore(bacula, guest, workdir, word="Dumped"):
    """A Full and an Incremental, each restored and compared; the two jobs."""
    jobs = []
    for level in ("Full", "Incremental"):
        _write(guest, seed=len(jobs))
        content = restored.snapshots(guest)
        jobs.append(bacula.run("VM", level=level))
        assert jobs[-1].ok, jobs[-1].log
        images = [file for file in bacula.list_files(jobs[-1].jobid) if "qcow2" in file.path]
        assert {file.delta_seq for file in images} == {len(jobs) - 1}
        assert jobs[-1].log.count(f"qemu: {word} ") == len(content)
        where = workdir / f"restored-{level}"
        assert bacula.restore([job.jobid for job in jobs], where).ok
        restored.assert_restored(content, where, guest.name)
    guest.assert_clean()
    assert bacula.fd_leftovers() == []
    return jobs


def _serve(make_bacula, guest, more=""):
    return make_bacula(filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}{more}"]})


def test_every_kind_of_disk(make_bacula, make_guest, workdir, way):
    """-drive and -blockdev, qcow2 and raw, filters on top, odd sizes (asks 2, 18)."""
    plain = make_image(workdir / "base.raw", _ODD, "raw", seed=1)
    qcow2 = make_image(workdir / "base.qcow2", 4 * MIB, seed=2)
    options, more, word = way
    guest = make_guest(
        disks=[
            _disk(workdir, "ide0-hd0", interface="ide"),
            _disk(workdir, "drive-virtio0", "raw", size=_ODD),
            _disk(workdir, "drive-scsi0", "qcow2", "scsi", "blockdev+throttle"),
            _disk(workdir, "drive-scsi1", "raw", "scsi", "blockdev+throttle", size=_ODD),
            _disk(workdir, "node-raw", "raw", style="blockdev", size=4 * MIB - SECTOR),
            _disk(workdir, "node-qcow2", style="blockdev", size=_ODD),
            _disk(workdir, "node-ide", "raw", "ide", "blockdev"),
            _disk(workdir, "read-copied", style="drive+copy-on-read", backing=(qcow2, "qcow2")),
            _disk(workdir, "node-copied", "qcow2", "scsi", "blockdev+copy-on-read"),
            _disk(workdir, "overlay", style="blockdev", size=_ODD, backing=(plain, "raw")),
            _disk(workdir, "stick", "raw", "usb"),
        ],
        **options,
    )
    _back_up_and_restore(_serve(make_bacula, guest, more), guest, workdir, word)


@pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)
def test_block_devices(make_bacula, make_guest, make_loop_device, workdir, way):
    """Raw and qcow2 straight on a block device, as on LVM (asks 18, 41)."""
    options, more, word = way
    room = workdir / "room"
    room.write_bytes(b"")
    run(["truncate", "-s", 8 * MIB, room])
    on_lvm = make_loop_device(room)
    run(["qemu-img", "create", "-q", "-f", "qcow2", on_lvm, 4 * MIB])
    raw = [make_image(workdir / f"{name}.raw", 4 * MIB, "raw", 3) for name in ("one", "two")]
    guest = make_guest(
        disks=[
            Disk("drive-raw", make_loop_device(raw[0]), "raw"),
            Disk("node-raw", make_loop_device(raw[1]), "raw", style="blockdev"),
            Disk("node-qcow2", on_lvm, "qcow2", style="blockdev"),
        ],
        **options,
    )
    bacula = _serve(make_bacula, guest, more)
    _back_up_and_restore(bacula, guest, workdir, word)
    disks = restored.config(workdir / "restored-Full")["disks"]
    assert [disk["file"] for disk in disks] == [str(disk.path) for disk in guest.disks.values()]
    assert [disk["format"] for disk in disks] == ["raw", "raw", "qcow2"]
    assert all(disk["block_device"] for disk in disks)


def _media(workdir):
    """Options for media that are no disks, and for drives without one."""
    disc = make_image(workdir / "disc.iso", MIB, "raw")
    floppy = make_image(workdir / "floppy.img", 1440 * 1024, "raw")
    spare = make_image(workdir / "spare.qcow2", MIB)
    drives = [
        f"if=ide,index=2,media=cdrom,id=disc,file={disc},format=raw",
        "if=ide,index=3,media=cdrom,id=empty",
        f"if=floppy,id=floppy,file={floppy},format=raw",
        f"if=none,id=unplugged,file={spare}",
        "if=none,id=tray",
    ]
    options = [word for drive in drives for word in ("-drive", drive)]
    return [*options, "-device", "scsi-cd,drive=tray,id=tray-device"]


def test_what_is_no_disk_is_left_out(make_bacula, make_guest, workdir):
    """CD-ROMs, floppies, empty and unplugged drives; a read-only disk is said (asks 49)."""
    guest = make_guest(
        disks=[
            _disk(workdir, "system", "qcow2", "scsi"),
            Disk("seed", make_image(workdir / "seed.raw", MIB, "raw"), "raw", readonly=True),
            Disk("node-seed", make_image(workdir / "2.raw", MIB, "raw"), "raw", "virtio",
                 "blockdev", readonly=True),
            Disk("node-disc", make_image(workdir / "3.raw", MIB, "raw"), "raw", "scsi",
                 "blockdev", cdrom=True),
        ],
        extra=_media(workdir),
    )
    bacula = _serve(make_bacula, guest)
    content = restored.snapshots(guest)
    job = bacula.run("VM")
    assert job.ok
    skipped = re.findall(r"qemu: Skipped (.*)", job.log)
    assert sorted(skipped) == ["vm/node-seed: it is read-only", "vm/seed: it is read-only"]
    saved = [file.path for file in bacula.list_files(job.jobid)]
    assert [path for path in saved if path.startswith("/@qemu/")] == [
        "/@qemu/vm/0/config.json",
        "/@qemu/vm/0/system.qcow2",
    ]
    where = workdir / "restored"
    assert bacula.restore(job.jobid, where).ok
    assert restored.files(where) == ["@qemu/vm/0/config.json", "@qemu/vm/0/system.qcow2"]
    restored.assert_restored(content, where)
    disks = {disk["drive"]: disk for disk in restored.config(where)["disks"]}
    assert {name: disk["backed_up"] for name, disk in disks.items()} == {
        "system": True, "seed": False, "node-seed": False,
    }
    assert disks["seed"]["skipped_because"] == "it is read-only"


_HOSTILE_NAME = '../a "b"/100%s'
_LONG_NAMES = ["x" * 250 + tail for tail in ("-one", "-two")]


def _strange_disks(workdir):
    """Options for two disks with very long names and one without any."""
    options = []
    for seed, name in enumerate(_LONG_NAMES, 1):
        image = make_image(workdir / f"{seed}.raw", seed * MIB, "raw", seed)
        options += ["-drive", f"if=virtio,format=raw,file={image},id={name}"]
    plain = make_image(workdir / "plain.raw", 4 * MIB, "raw", seed=9)
    file = f"file.driver=file,file.filename={plain}"
    options += ["-blockdev", f"driver=raw,node-name=plain,{file}"]
    return [*options, "-device", "virtio-blk-pci,drive=plain"]


def _place_of_nameless_disk(guest, workdir):
    """Move the disk without an id to a node without a name: its place in QEMU's tree is left."""
    target = str(workdir / "moved.raw")
    guest.qmp("drive-mirror", job_id="move", device="plain", target=target, sync="full",
              format="raw")
    wait_until(lambda: guest.qmp("query-block-jobs")[0]["ready"], PATIENCE, "the mirror")
    guest.qmp("block-job-complete", device="move")
    wait_until(lambda: not guest.qmp("query-block-jobs"), PATIENCE, "the move")
    (entry,) = [each for each in guest.qmp("query-block") if not each["device"]]
    assert entry["inserted"]["node-name"].startswith("#")
    return entry["qdev"]


def test_names_that_need_encoding(make_bacula, make_guest, workdir):
    """Names never lead out of their directory, and long ones are still told apart."""
    extra = ["-name", _HOSTILE_NAME, *_strange_disks(workdir)]
    guest = make_guest(extra=extra)
    place = _place_of_nameless_disk(guest, workdir)
    bacula = _serve(make_bacula, guest)
    full = bacula.run("VM")
    assert full.ok and f"qemu: Start Backup vm: {_HOSTILE_NAME} (0)" in full.log
    for name in _LONG_NAMES:
        guest.qmp("human-monitor-command", command_line=f'qemu-io {name} "write -P 7 0 64k"')
    increment = bacula.run("VM", level="Incremental")
    assert increment.ok
    where = workdir / "restored"
    job = bacula.restore([full.jobid, increment.jobid], where)
    assert job.ok and f"qemu: VM local restore: {_HOSTILE_NAME} (oid:0)" in job.log
    folder = restored.folder(where, "%2E.%2Fa \"b\"%2F100%25s")
    images = sorted(folder.glob("*.qcow2"))
    assert images[0].name == place.replace("/", "%2F") + ".qcow2"
    assert_same(workdir / "plain.raw", images[0])
    by_size = sorted(images[1:], key=lambda image: virtual_size(image, "qcow2"))
    assert len(by_size) == 2
    for number, image in enumerate(by_size, 1):
        assert re.fullmatch(r"x+~[0-9a-f]{8}\.qcow2", image.name)
        assert_same(workdir / f"{number}.raw", image)
    assert len(restored.files(where)) == 4
    guest.assert_clean()


def test_sizes_in_the_catalog_are_true(make_bacula, make_guest, workdir):
    """A file has in the catalog as many bytes as were read, and as come back; runs of zeroes are not stored."""
    guest = make_guest(disks=[_disk(workdir, "vda", size=16 * MIB), _disk(workdir, "vdb", "raw")])
    bacula = _serve(make_bacula, guest)
    full = bacula.run("VM")
    guest.write("vda", 1, 5 * MIB, 128 * 1024)
    for job, level in ((full, "Full"), (bacula.run("VM", level="Incremental"), "Incremental")):
        sizes = {file.path: file.size for file in bacula.list_files(job.jobid)}
        assert job.bytes < sum(sizes.values()) * 1.001  # each block has its address before it
        for disk in guest.disks:
            size = sizes[f"/@qemu/vm/0/{disk}.qcow2"]
            assert f"ed vm/{disk}: {level}, {size} bytes" in job.log  # Dumped or Streamed
    assert sizes["/@qemu/vm/0/vda.qcow2"] < MIB, "an increment holds what was written, no more"
    where = workdir / "restored"
    assert bacula.restore(full.jobid, where).ok
    saved = {file.path: file.size for file in bacula.list_files(full.jobid)}
    names = restored.files(where)
    assert {f"/{name}": (where / name).stat().st_size for name in names} == {
        path: size for path, size in saved.items() if path.startswith("/@qemu")
    }
