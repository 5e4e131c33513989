"""A backup that somebody changed: refused with a clear line, and nothing else is touched.

Most of it runs under AddressSanitizer in fd-host, whose archives are plain
files; one test changes a volume of a real Bacula.
"""

import json
import os
import shutil

import pytest
from harness import restored
from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FdHost
from harness.guest import Guest
from harness.process import run

_CANARY = b"what was there"
_IMAGE, _CONFIG = "/@qemu/VM1/0/vda.qcow2", "/@qemu/VM1/0/config.json"
_ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
_PASSED_OVER = 1


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the archives "full" and "increment", and what they must restore."""
    folder = tmp_path_factory.mktemp("hostile")
    disk = Disk("vda", make_image(folder / "vda.qcow2", MIB, seed=1))
    host = FdHost(folder / "host", 23, flavour="asan", env=_ASAN)
    with Guest(folder / "VM1", name="VM1", disks=[disk]) as guest:
        line = f"qemu: qmpcontrol={guest.qmp_socket}"
        assert host.run(host.backup("full", line)).code == 0
        guest.random_writes("vda", 8, seed=1)
        assert host.run(host.backup("increment", line, "I", "full")).code == 0
        yield host.folder, guest.snapshot("vda")
    shutil.rmtree(folder)


class Archives:
    """Copies of the archives that a test may change, and a place outside that it must not."""

    def __init__(self, folder, saved):
        self.host = FdHost(folder / "host", 23, flavour="asan", env=_ASAN)
        self.outside = folder / "outside"
        self.where = folder / "restored"
        self.outside.mkdir()
        self.canary = self.outside / "canary"
        self.canary.write_bytes(_CANARY)
        self.names = ["full", "increment"]
        for name in self.names:
            shutil.copytree(saved / name, self.host.archive(name))

    def restore(self, where=None, **form):
        """Restore all there is; the log."""
        options = [f"--form={name}={value}" for name, value in form.items()]
        done = self.host.run(self.host.restore(self.names, where or self.where, options))
        assert done.code in (0, _PASSED_OVER), done.log
        return done.log

    def change(self, archive, changed, **members):
        """Change what the catalog says of a file."""
        path = self.host.archive(archive) / "manifest.json"
        manifest = json.loads(path.read_text())
        for file in manifest["files"]:
            if file["name"] == changed:
                file.update(members)
        path.write_text(json.dumps(manifest))

    def data(self, archive, name):
        """Where the bytes of a saved file lie."""
        manifest = json.loads((self.host.archive(archive) / "manifest.json").read_text())
        index = [file["name"] for file in manifest["files"]].index(name) + 1
        return self.host.archive(archive) / f"{index}.data"

    def replace(self, archive, name, content):
        """Other bytes, of a length that the catalog agrees with."""
        self.data(archive, name).write_bytes(content)
        self.change(archive, name, size=len(content))

    def rewrite_config(self, change):
        """Let change() edit the newest config.json; the catalog's objects are lost."""
        for archive in self.names:
            path = self.host.archive(archive) / "manifest.json"
            config = self.data(archive, _CONFIG)
            description = json.loads(config.read_text())
            change(description)
            config.write_text(json.dumps(description))
            manifest = json.loads(path.read_text())
            for number, file in enumerate(manifest["files"], 1):
                if file["name"] == _CONFIG:
                    file["size"] = config.stat().st_size
                elif "object" in file and file["name"] != "RestoreOptions":
                    file["object"] = "no object of ours"
            path.write_text(json.dumps(manifest))

    def assert_untouched(self):
        """Nothing but the canary outside, nothing unfinished in the working directory."""
        assert os.listdir(self.outside) == ["canary"]
        assert self.canary.read_bytes() == _CANARY
        assert self.host.leftovers() == []


@pytest.fixture
def archives(saved, workdir):
    return Archives(workdir, saved[0])


def test_unchanged_archives_restore(archives, saved):
    """What the other tests start from is good."""
    assert "rror" not in archives.restore().replace("0 errors", "")
    assert_same(saved[1], restored.image(archives.where, "vda", "VM1"))
    archives.assert_untouched()


def _patch(offset, content):
    def change(archives, archive):
        with archives.data(archive, _IMAGE).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    return change


def _backing_file(archives, archive):
    image = archives.data(archive, _IMAGE)
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", archives.canary, image])


def _data_file(archives, archive):
    image = archives.outside / "image.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
         f"data_file={archives.outside / 'data'},data_file_raw=on", image, MIB])  # fmt: skip
    (archives.outside / "data").unlink()
    archives.replace(archive, _IMAGE, image.read_bytes())
    image.unlink()


def _snapshot(archives, archive):
    image = archives.data(archive, _IMAGE)
    run(["qemu-img", "snapshot", "-c", "planted", image])
    archives.change(archive, _IMAGE, size=image.stat().st_size)


def _content(content):
    return lambda archives, archive: archives.replace(archive, _IMAGE, content)


def _shorter(archives, archive):
    os.truncate(archives.data(archive, _IMAGE), 70000)


def _longer(archives, archive):
    with archives.data(archive, _IMAGE).open("ab") as file:
        file.write(bytes(4096))


_PARTS = {
    "backing file": (_backing_file, "it names a backing file"),
    "data file": (_data_file, "external data file"),
    "snapshot": (_snapshot, "it is encrypted or has snapshots"),
    "encrypted": (_patch(32, b"\0\0\0\2"), "it is encrypted or has snapshots"),
    "version 2": (_patch(4, b"\0\0\0\2"), "it is a qcow2 image of version 2"),
    "dirty": (_patch(72, bytes(7) + b"\1"), "not closed cleanly"),
    "cluster size": (_patch(20, b"\0\0\0\x1f"), "its cluster size makes no sense"),
    "negative size": (_patch(24, b"\xff" * 8), "its size makes no sense"),
    "huge size": (_patch(24, b"\x3f" + b"\xff" * 7), "qemu-img "),
    "L1 table elsewhere": (_patch(40, b"\x7f" + b"\0" * 7), "qemu-img "),
    "L1 table overlaps": (_patch(40, bytes(8)), "qemu-img "),
    "refcounts": (_patch(65536, b"\xff" * 65536), "qemu-img "),
    "garbage": (_content(os.urandom(100000)), "it is no qcow2 image"),
    "half a header": (_content(b"QFI\xfb\0\0\0\3"), "it is no qcow2 image"),
    "nothing": (_content(b""), "it is no qcow2 image"),
    "other format": (_content(b"KDMV" + bytes(65532)), "it is no qcow2 image"),
    "short": (_shorter, " bytes came"),
    "long": (_longer, " bytes came"),
}


# An increment that is damaged like this holds nothing any more.
_CASES = [
    pytest.param(archive, kind, id=f"{archive}-{kind}")
    for archive in ("full", "increment") for kind in _PARTS
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
    archives.change("full", _IMAGE, name=name)
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
    archives.replace("increment", _CONFIG, content)
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
        archives.rewrite_config(lambda config: config["disks"][0].update(file=target))
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
