"""An increment is written straight into the image while it comes; what is not in order goes round by a file of its own."""

import json
import shutil
import struct

import pytest
from harness import restored
from harness.disk import MIB, SECTOR, Disk, assert_same, make_image
from harness.fd_host import FdHost
from harness.process import run
from harness.recorder import QemuImgRecorder

CLUSTER = 64 * 1024
_ROUND = "every such part is written twice"


def _host(workdir):
    return FdHost(workdir / "host", 23)


def _image(host, archive, disk):
    """The file and the entry of a disk's part in an archive."""
    path = host.archive(archive) / "manifest.json"
    manifest = json.loads(path.read_text())
    (number,) = (number for number, file in enumerate(manifest["files"], 1)
                 if file["name"].endswith(f"/{disk}.qcow2"))
    return host.archive(archive) / f"{number}.data", path, manifest, number - 1


def _as_qemu_wrote_it(host, archive, disk):
    """The same part in the order of QEMU's own dumps: the tables wherever they came to lie."""
    part, path, manifest, index = _image(host, archive, disk)
    content = part.read_bytes()
    old = part.with_suffix(".old")
    (size,) = struct.unpack_from(">Q", content, 24)
    run(["qemu-img", "create", "-q", "-f", "qcow2", old, size])
    found = json.loads(run(["qemu-img", "map", "--output=json", "-f", "qcow2", part]))
    orders = []
    for extent in found:
        start, length = extent["start"], extent["length"]
        if extent["data"]:
            raw = part.with_suffix(f".{start}")
            raw.write_bytes(content[extent["offset"] : extent["offset"] + length])
            orders.append(f"write -q -s {raw} {start} {length}")
        elif extent.get("present", True):
            orders.append(f"write -q -z {start} {length}")
    for order in reversed(orders):
        run(["qemu-io", "-f", "qcow2", "-c", order, old])
    old.rename(part)
    manifest["files"][index]["size"] = part.stat().st_size
    path.write_text(json.dumps(manifest))
    for left in part.parent.glob(f"{part.stem}.*[0-9]"):
        left.unlink()


@pytest.fixture
def saved(make_guest, workdir):
    """A chain of a Full and three increments, and what the disks held in the end."""
    disks = [Disk(name, make_image(workdir / f"{name}.qcow2", 4 * MIB, seed=seed))
             for seed, name in enumerate(("vda", "vdb"), 1)]  # fmt: skip
    guest = make_guest(name="VM1", disks=disks)
    host = _host(workdir)
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    assert host.run(host.backup("0", line)).code == 0
    for number in range(1, 4):
        for disk in guest.disks:
            guest.random_writes(disk, 20, seed=number)
            guest.write_zeroes(disk, number * 5 * CLUSTER, 3 * CLUSTER)
        assert host.run(host.backup(str(number), line, "I", str(number - 1))).code == 0
    return host, guest


def _restore(host, where, env=None):
    done = host.run(host.restore(["0", "1", "2", "3"], where), env=env)
    assert done.code == 0, done.log
    assert host.leftovers() == []
    return done.log


@pytest.mark.parametrize("old", ["", "0", "2", "13", "0123"])
def test_parts_in_order_and_others(saved, workdir, old):
    """One chain may hold both; the log says once a guest that a part went round."""
    host, guest = saved
    for archive in old:
        for disk in guest.disks:
            _as_qemu_wrote_it(host, archive, disk)
    log = _restore(host, workdir / "restored")
    for disk in guest.disks:
        assert_same(guest.shadow(disk), restored.image(workdir / "restored", disk, "VM1"))
    assert log.count(_ROUND) == (1 if set(old) - {"0"} else 0), log


def _without_server(workdir):
    folder = workdir / "bin"
    folder.mkdir()
    (folder / "qemu-img").symlink_to(shutil.which("qemu-img"))
    return {"PATH": str(folder)}


def test_without_a_server(saved, workdir):
    """A host with qemu-img only restores as before, and says why."""
    host, guest = saved
    log = _restore(host, workdir / "restored", _without_server(workdir))
    for disk in guest.disks:
        assert_same(guest.shadow(disk), restored.image(workdir / "restored", disk, "VM1"))
    assert log.count(f"(there is no qemu-nbd on this host): {_ROUND}") == 1, log


@pytest.mark.parametrize("chosen", ["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "parallels"])
def test_format_of_images(saved, workdir, chosen):
    """What where=/dir leaves, as the form says, and nothing beside it; raw is put together as such."""
    host, guest = saved
    form = [f"--form=format={chosen}"]
    done = host.run(host.restore(["0", "1", "2", "3"], workdir / "restored", form))
    assert done.code == 0, done.log
    folder = restored.folder(workdir / "restored", "VM1")
    for disk in guest.disks:
        assert_same(guest.shadow(disk), folder / f"{disk}.{chosen}", chosen)
        assert (folder / f"{disk}.{chosen}").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {
        "config.json", *(f"{disk}.{chosen}" for disk in guest.disks)}
    assert _ROUND not in done.log
    assert host.leftovers() == []


def test_format_of_what_is_delivered(saved, workdir):
    """A guest's own file has the format that it had: refused before anything is written."""
    host, guest = saved
    guest.quit()
    form = ["--form=format=raw", "--form=convdestination=yes"]
    done = host.run(host.restore(["0", "1", "2", "3"], options=form))
    assert 'restore option "format": it is for images that stay in a directory' in done.log
    for disk in guest.disks:
        assert_same(guest.shadow(disk), guest.disks[disk].path)


@pytest.mark.parametrize("server", [True, False])
def test_no_second_copy(make_guest, make_tmpfs, workdir, server):
    """A file system that holds the image and 5 % more is enough for increments of the whole disk."""
    size = 16 * MIB
    image = make_image(workdir / "vda.qcow2", size, seed=1, density=1)
    guest = make_guest(name="VM1", disks=[Disk("vda", image)])
    host = _host(workdir)
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    assert host.run(host.backup("0", line)).code == 0
    for number in range(1, 4):
        for offset in range(0, size, CLUSTER):
            guest.write("vda", number, offset, SECTOR)
        assert host.run(host.backup(str(number), line, "I", str(number - 1))).code == 0
    where = make_tmpfs("small", size * 105 // 100)
    env = {} if server else _without_server(workdir)
    done = host.run(host.restore(["0", "1", "2", "3"], where), env=env)
    place = restored.image(where, "vda", "VM1")
    if server:
        assert done.code == 0, done.log
        assert_same(guest.shadow("vda"), place)
        assert place.stat().st_blocks * 512 < size + MIB // 2
    else:
        assert "part 1: cannot write it: No space left on device" in done.log
        assert not place.exists()


def test_many_disks(make_guest, workdir):
    """One server at a time, however many disks a guest has; fd-host counts descriptors and children."""
    disks = [Disk(f"d{number}", make_image(workdir / f"{number}.qcow2", MIB, seed=number))
             for number in range(24)]  # fmt: skip
    guest = make_guest(name="VM1", disks=disks)
    host = _host(workdir)
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    assert host.run(host.backup("0", line)).code == 0
    for disk in guest.disks:
        guest.random_writes(disk, 3, seed=1)
    assert host.run(host.backup("1", line, "I", "0")).code == 0
    where = workdir / "restored"
    recorder = QemuImgRecorder(workdir / "bin")
    done = host.run(host.restore(["0", "1"], where), env=recorder.environment)
    assert done.code == 0 and _ROUND not in done.log, done.log
    for disk in guest.disks:
        assert_same(guest.shadow(disk), restored.image(where, disk, "VM1"))
    assert restored.files(where) == sorted(
        f"@qemu/VM1/0/{name}" for name in ["config.json", *(f"{disk}.qcow2" for disk in guest.disks)]
    )
    servers = [record["servers"] for record in recorder.records()
               if record["argv"][1] == "--socket"]  # fmt: skip
    assert servers == [1] * len(disks)
