"""A backup that somebody changed: refused with a clear line, and nothing else is touched.

Most of it runs under AddressSanitizer in fd-host, whose archives are plain
files; one test changes a volume of a real Bacula.
"""

import contextlib
import json
import os
import struct

import pytest
from harness import restored
from harness.archives import CONFIG, IMAGE, Archives, saved_archives
from harness.disk import MIB, Disk, assert_same, make_image
from harness.process import run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the archives "full" and "increment", and what they must restore."""
    with saved_archives(tmp_path_factory.mktemp("hostile")) as saved:
        yield saved


@pytest.fixture
def archives(saved, workdir):
    with contextlib.closing(Archives(workdir, saved[0])) as archives:
        yield archives


def test_unchanged_archives_restore(archives, saved):
    """What the other tests start from is good."""
    assert "rror" not in archives.restore().replace("0 errors", "")
    assert_same(saved[1], restored.image(archives.where, "vda", "VM1"))
    archives.assert_untouched()


def _patch(offset, content):
    def change(archives, archive):
        with archives.data(archive, IMAGE).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    return change


def _backing_file(archives, archive):
    image = archives.data(archive, IMAGE)
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", archives.canary, image])


def _backing_json(archives, archive):
    file = json.dumps({"driver": "file", "filename": str(archives.canary)})
    image = archives.data(archive, IMAGE)
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", f"json:{file}", image])


def _data_file(raw):
    """An image whose clusters lie in the canary: who writes to it writes there."""

    def change(archives, archive):
        image = archives.outside / "image.qcow2"
        kept = archives.canary.read_bytes()
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
             f"data_file={archives.canary},data_file_raw={raw}", image, MIB])  # fmt: skip
        archives.canary.write_bytes(kept)
        archives.replace(archive, IMAGE, image.read_bytes())
        image.unlink()

    return change


def _extension(kind, content, length=None):
    """A header extension, behind the header of a part, which has none."""
    head = struct.pack(">II", kind, len(content) if length is None else length)
    return _patch(104, head + content + bytes(-len(content) % 8 + 8))


def _data_file_name(archives, archive):
    """The name of a data file without the bit that says there is one."""
    _extension(0x44415441, os.fsencode(archives.canary))(archives, archive)


def _bitmap(archives, archive):
    image = archives.data(archive, IMAGE)
    run(["qemu-img", "bitmap", "--add", "-f", "qcow2", image, "planted"])
    archives.change(archive, IMAGE, size=image.stat().st_size)


def _both(*changes):
    def change(archives, archive):
        for one in changes:
            one(archives, archive)

    return change


def _snapshot(archives, archive):
    image = archives.data(archive, IMAGE)
    run(["qemu-img", "snapshot", "-c", "planted", image])
    archives.change(archive, IMAGE, size=image.stat().st_size)


def _content(content):
    return lambda archives, archive: archives.replace(archive, IMAGE, content)


def _shorter(archives, archive):
    os.truncate(archives.data(archive, IMAGE), 70000)


def _longer(archives, archive):
    with archives.data(archive, IMAGE).open("ab") as file:
        file.write(bytes(4096))


def _data_entries(archives, archive):
    """Where the table of the part, which has one, speaks of data."""
    with archives.data(archive, IMAGE).open("rb") as file:
        file.seek(4 * 65536)
        table = file.read(16 * 8)
    return [4 * 65536 + at for at in range(0, len(table), 8) if table[at : at + 8] > bytes(7) + b"\1"]


def _twice(archives, archive):
    first, second = _data_entries(archives, archive)[:2]
    _patch(second, _entry(archives, archive, first))(archives, archive)


def _left_out(archives, archive):
    _patch(_data_entries(archives, archive)[0], bytes(8))(archives, archive)


def _entry(archives, archive, at):
    return archives.data(archive, IMAGE).read_bytes()[at : at + 8]


_QEMU = "qemu-"  # qemu-img, or qemu-nbd that opens the image for the next part

_PARTS = {
    "backing file": (_backing_file, "it names a backing file"),
    "backing file as JSON": (_backing_json, "it names a backing file"),
    "backing file without a length": (_patch(8, bytes(7) + b"\x70"), "it names a backing file"),
    "data file": (_data_file("off"), "external data file"),
    "raw data file": (_data_file("on"), "external data file"),
    "snapshot": (_snapshot, "it has an internal snapshot"),
    "encrypted": (_patch(32, b"\0\0\0\2"), "it is encrypted, as no dump is"),
    "version 2": (_patch(4, b"\0\0\0\2"), "it is a qcow2 image of version 2"),
    "dirty": (_patch(72, bytes(7) + b"\1"), "not closed cleanly"),
    "corrupt": (_patch(72, bytes(7) + b"\2"), "uses features that no dump does"),
    "unknown feature": (_patch(72, b"\x80"), "uses features that no dump does"),
    "endless header": (_patch(100, b"\xff" * 4), "its header makes no sense"),
    "no header": (_patch(100, bytes(4)), "its header makes no sense"),
    "refcount order": (_patch(96, b"\0\0\0\7"), "its header makes no sense"),
    "endless extension": (_extension(0x6803F857, b"", 0xFFFFFFF0), _QEMU),
    "LUKS extension": (_extension(0x0537BE77, bytes(16)), _QEMU),
    "bitmaps that are none": (
        _both(_extension(0x23852875, b"\xff" * 24), _patch(88, bytes(7) + b"\1")),
        _QEMU,
    ),
    "compression type": (
        _both(_patch(72, bytes(7) + b"\x08"), _patch(100, b"\0\0\0\x70\x09")),
        _QEMU,
    ),
    "smaller": (_patch(24, bytes(5) + b"\x08\0\0"), "one of its tables reaches behind the disk"),
    "larger": (_patch(24, bytes(5) + b"\x20\0\0"), "where config.json says 1048576"),
    "cluster size": (_patch(20, b"\0\0\0\x1f"), "its cluster size makes no sense"),
    "negative size": (_patch(24, b"\xff" * 8), "is larger than any that can be saved"),
    "huge size": (_patch(24, b"\x3f" + b"\xff" * 7), "is larger than any that can be saved"),
    "L1 table elsewhere": (_patch(40, b"\x7f" + b"\0" * 7), "its header makes no sense"),
    "L1 table overlaps": (_patch(40, bytes(8)), "its header makes no sense"),
    "refcounts": (_patch(65536, b"\xff" * 65536), "its table of reference counts is wrong"),
    "L2 table elsewhere": (_patch(3 * 65536, b"\x80" + bytes(7)), "its first table is wrong"),
    "two clusters at one address": (_twice, "one of its tables is wrong"),
    "a cluster left out": (_left_out, "one of its tables is wrong"),
    "garbage": (_content(os.urandom(100000)), "it is no qcow2 image"),
    "half a header": (_content(b"QFI\xfb\0\0\0\3"), "it is no qcow2 image"),
    "nothing": (_content(b""), "it is no qcow2 image"),
    "other format": (_content(b"KDMV" + bytes(65532)), "it is no qcow2 image"),
    "short": (_shorter, " bytes came"),
    "long": (_longer, "it goes on behind its end"),
}


# A disk may have grown or shrunk after its Full: only of the newest part is the size known.
_ONLY_NEWEST = ("smaller", "larger")
_CASES = [
    pytest.param(archive, kind, id=f"{archive}-{kind}")
    for archive in ("full", "increment") for kind in _PARTS
    if archive == "increment" or kind not in _ONLY_NEWEST
]  # fmt: skip


@pytest.mark.parametrize("archive, kind", _CASES)
def test_tampered_part(archives, archive, kind):
    """Refused before qemu-img follows it anywhere; no image gets its name."""
    change, why = _PARTS[kind]
    change(archives, archive)
    log = archives.restore()
    lines = [line for line in log.splitlines() if 'guest "VM1", disk "vda": ' in line]
    assert len(lines) == 1 and why in lines[0], log
    assert restored.files(archives.where) == ["@qemu/VM1/0/config.json"]
    archives.assert_untouched()


_HARMLESS = {
    "data file's name": _data_file_name,
    "bitmap": _bitmap,
    "lazy refcounts": _patch(80, bytes(7) + b"\1"),
    "unknown extension": _extension(0x12345678, b"\xff" * 24),
    "zstd": _both(_patch(72, bytes(7) + b"\x08"), _patch(100, b"\0\0\0\x70\x01")),
    "bits without meaning": _patch(88, b"\xff" * 7 + b"\xfc"),
}


@pytest.mark.parametrize("archive", ["full", "increment"])
@pytest.mark.parametrize("kind", _HARMLESS)
def test_harmless_changes(archives, saved, archive, kind):
    """What leads nowhere does not keep a disk from being restored, and leads nowhere."""
    _HARMLESS[kind](archives, archive)
    log = archives.restore()
    assert "rror" not in log.replace("0 errors", ""), log
    archives.assert_untouched()
    assert_same(saved[1], restored.image(archives.where, "vda", "VM1"))


_NAMES = [
    "/@qemu/../../outside/0/vda.qcow2",
    "/@qemu/VM1/0/../../../../outside/vda.qcow2",
    "/@qemu/VM1/../vda.qcow2",
    "/@qemu/VM1/0/..",
    "/@qemu/VM1/0/.qcow2",
    "/@qemu/VM1/-1/vda.qcow2",
    "/@qemu/VM1/4294967296/vda.qcow2",
    "/@qemu//0/vda.qcow2",
    "/@qemu/VM1/0/",
    "/@qemu/VM1/0/vda.raw",
    "/@qemu/VM1/0/v\nda.qcow2",
    "/@qemu/VM1/0/" + "v" * 300 + ".qcow2",
    "/@qemu",
    "/etc/passwd",
]


@pytest.mark.parametrize("name", _NAMES, ids=range(len(_NAMES)))
def test_hostile_file_names(archives, name):
    """A name leads nowhere but to /@qemu/<vm-name>/<vmid>/<drive-name>.qcow2."""
    archives.change("full", IMAGE, name=name)
    archives.names = ["full"]
    log = archives.restore()
    assert "is no name that this plugin gives a file; restore files below /@qemu/ only" in log
    assert restored.files(archives.where) == ["@qemu/VM1/0/config.json"]
    archives.assert_untouched()


_CONFIGS = {
    "no JSON": (b"{", "no JSON"),
    "nothing": (b"", "it is empty"),
    "other format": (b'{"format": "x", "version": 1}', 'it is not in the format "qemu-fd guest"'),
    "from the future": (b'{"format": "qemu-fd guest", "version": 99}', "its version is not known"),
    "no guest": (b'{"format": "qemu-fd guest", "version": 1}', "no guest or no disks in it"),
    "deep": (b"[" * 100000, "no JSON"),
    "twice": (b'{"format": "x", "format": "qemu-fd guest", "version": 1}', "no JSON"),
    "endless": (b" " * (5 << 20), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", _CONFIGS)
def test_hostile_config(archives, saved, kind):
    """It is refused, and the disks are restored all the same."""
    content, why = _CONFIGS[kind]
    archives.replace("increment", CONFIG, content)
    log = archives.restore()
    (line,) = [line for line in log.splitlines() if 'guest "VM1": config.json: ' in line]
    assert why in line
    archives.assert_untouched()
    assert_same(saved[1], restored.image(archives.where, "vda", "VM1"))


def _targets(archives):
    """Files that a config.json may claim to be the guest's disk, and what is said."""
    return {
        str(archives.outside): "is neither a file nor a block device",
        "/dev/null": "is neither a file nor a block device",
        "outside/canary": "the backup does not say which file it was",
        "nbd:127.0.0.1:9": "the backup does not say which file it was",
        'json:{"driver":"null-co"}': "the backup does not say which file it was",
        f"{archives.outside}/none/disk": f'the directory "{archives.outside}/none" is missing',
        f"{archives.canary}/disk": "canary",
        "/proc/self/mem": "/proc/",
    }


def test_hostile_targets(archives):
    """convdestination=yes writes to files and block devices only."""
    for target, why in _targets(archives).items():
        archives.rewrite_config(lambda config, file=target: config["disks"][0].update(file=file))
        log = archives.restore("/", convdestination="yes")
        lines = [line for line in log.splitlines() if 'guest "VM1", disk "vda": ' in line]
        assert len(lines) == 1 and why in lines[0], log
        archives.assert_untouched()


_FORMATS = ["", "--help", "raw,size=1", "nbd", "host_device", "x" * 5000]


@pytest.mark.parametrize("driver", _FORMATS, ids=range(len(_FORMATS)))
def test_hostile_format(archives, driver):
    """A format is one argument of qemu-img and nothing more."""
    target = str(archives.canary)
    archives.rewrite_config(lambda config: config["disks"][0].update(file=target, format=driver))
    log = archives.restore("/", convdestination="yes")
    lines = [line for line in log.splitlines() if 'guest "VM1", disk "vda": ' in line]
    assert len(lines) == 1, log
    archives.assert_untouched()


def test_no_setuid_image(archives, saved):
    """Permission bits beyond rwx are nobody's business in an image's mode."""
    target = archives.outside / "disk"
    owner = {"uid": 0, "gid": 0, "mode": 0o6755}
    archives.rewrite_config(
        lambda config: config["disks"][0].update(file=str(target), owner=owner)
    )
    archives.restore("/", convdestination="yes")
    assert target.stat().st_mode & 0o7000 == 0
    assert_same(saved[1], target)


@pytest.mark.parametrize("name", ["config.json", "vda.qcow2"])
def test_planted_links_to_files(archives, saved, name):
    """A link where a file should go is replaced, not followed."""
    folder = restored.folder(archives.where, "VM1")
    folder.mkdir(parents=True)
    (folder / name).symlink_to(archives.canary)
    archives.restore()
    assert not (folder / name).is_symlink()
    assert_same(saved[1], restored.image(archives.where, "vda", "VM1"))
    archives.assert_untouched()


@pytest.mark.parametrize("name", ["@qemu", "@qemu/VM1", "@qemu/VM1/0"])
def test_planted_links_to_directories(archives, name):
    """Below where= no link is followed."""
    link = archives.where / name
    link.parent.mkdir(parents=True)
    link.symlink_to(archives.outside)
    log = archives.restore()
    assert f'"{link}" is in the way: it is not a directory' in log
    archives.assert_untouched()


def test_tampered_volume(make_bacula, make_guest, workdir):
    """The same through a real Bacula: a volume whose image names a backing file."""
    guest = make_guest(disks=[Disk("vda", make_image(workdir / "vda.qcow2", MIB, seed=1))])
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]},
        extra_device_lines=["Block Checksum = no"],
    )
    full = bacula.run("VM")
    (volume,) = (bacula.folder / "volumes").iterdir()
    content = volume.read_bytes()
    at = content.index(b"QFI\xfb\0\0\0\3")
    name = b"/etc/passwd"
    header = bytearray(content[at : at + 0x300])
    header[8:20] = (0x200).to_bytes(8, "big") + len(name).to_bytes(4, "big")
    header[0x200 : 0x200 + len(name)] = name
    volume.write_bytes(content[:at] + header + content[at + 0x300 :])
    where = workdir / "restored"
    job = bacula.restore(full.jobid, where)
    assert not job.ok
    assert 'Error: qemu: guest "vm", disk "vda": part 0: it names a backing file' in job.log
    assert restored.files(where) == ["@qemu/vm/0/config.json"]


def test_tampered_volume_names_another_file(make_bacula, make_guest, workdir):
    """A volume's config.json says that the disk was another file; the catalog knows better."""
    path = make_image(workdir / "vda.qcow2", MIB, seed=1)
    guest = make_guest(disks=[Disk("vda", path)])
    bacula = make_bacula(
        filesets={"VM": [f"qemu: qmpcontrol={guest.qmp_socket}"]},
        extra_device_lines=["Block Checksum = no"],
    )
    full = bacula.run("VM")
    content = guest.snapshot("vda")
    guest.quit()
    other = path.with_name("vdX.qcow2")
    other.write_bytes(b"what was there")
    (volume,) = (bacula.folder / "volumes").iterdir()
    said, changed = (f'"file": "{name}"'.encode() for name in (path, other))
    assert volume.read_bytes().count(said) == 1
    volume.write_bytes(volume.read_bytes().replace(said, changed))
    path.unlink()
    job = bacula.restore(full.jobid, "/", plugin_options={"convdestination": "yes"})
    assert not job.ok
    assert f'disk "vda" lies at "{other}", the catalog "{path}"; one of the two was' in job.log
    assert other.read_bytes() == b"what was there"
    assert_same(content, path)
