"""Contents and targets that qemu-img would follow elsewhere, were it left to guess formats."""

import contextlib
import json
import os

import pytest
from harness.disk import MIB, Disk, assert_same, make_image
from harness.fd_host import FdHost
from harness.process import run
from harness.restored import image
from harness.watch import Watch

_ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
_SIZE = 2 * MIB


class Outside:
    """A folder with one file that nobody may open."""

    def __init__(self, folder):
        folder.mkdir()
        self.secret = folder / "secret"
        self.secret.write_bytes(b"secret" * 1000)
        self._watch = Watch(folder)

    def begin(self):
        """From now on."""
        self._watch.events()

    def assert_untouched(self):
        """It was not so much as opened."""
        assert self._watch.events() == []
        assert self.secret.read_bytes() == b"secret" * 1000
        self._watch.events()

    def close(self):
        self._watch.close()


@pytest.fixture
def outside(workdir):
    with contextlib.closing(Outside(workdir / "outside")) as outside:
        yield outside


@pytest.fixture
def host(workdir):
    return FdHost(workdir / "host", 23, flavour="asan", env=_ASAN)


def _image_over(secret, path, size=_SIZE):
    """A qcow2 image whose backing file is the secret."""
    run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", secret, path, size])
    return path


def _image_beside(secret, path):
    """A qcow2 image whose clusters lie in the secret."""
    kept = secret.read_bytes()
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={secret}", path, _SIZE])
    secret.write_bytes(kept)
    return path


def _looks_like_an_image(make, secret, path):
    """A raw disk that begins with such an image: what its guest may write there."""
    content = make(secret, path).read_bytes()
    path.write_bytes(content + bytes(_SIZE - len(content)))
    return path


def _text(content):
    """A disk that begins as another kind of file."""

    def make(_, path):
        path.write_bytes(content)
        return path

    return make


_CONTENTS = {
    "a backing file": _image_over,
    "a data file": _image_beside,
    "VMDK": _text(
        b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        b'createType="monolithicFlat"\nRW 1 FLAT "../outside/secret" 0\n'
    ),
    "LUKS": _text(b"LUKS\xba\xbe\0\1"),
}


def _chain(host, guest, disk):
    """A Full and an Incremental of a guest that is then gone; what its disk held."""
    line = f"qemu: qmpcontrol={guest.qmp_socket}"
    assert host.run(host.backup("full", line)).code == 0
    guest.write(disk, 0x5A, MIB, 65536)
    assert host.run(host.backup("increment", line, "I", "full")).code == 0
    content = guest.snapshot(disk)
    guest.quit()
    return content


def _restore(host, where="/", **form):
    options = [f"--form={name}={value}" for name, value in form.items()]
    return host.run(host.restore(["full", "increment"], where, options))


@pytest.mark.parametrize("kind", _CONTENTS)
def test_raw_disk_that_looks_like_an_image(host, make_guest, outside, workdir, kind):
    """It stays what it is: bytes, in a backup, in an image, and back in its file."""
    disk = _looks_like_an_image(_CONTENTS[kind], outside.secret, workdir / "vda.raw")
    guest = make_guest(disks=[Disk("vda", disk, "raw")])
    outside.begin()
    content = _chain(host, guest, "vda")
    assert content.read_bytes()[:8] == disk.read_bytes()[:8] != bytes(8)
    done = _restore(host, workdir / "restored")
    assert done.code == 0, done.log
    done = _restore(host, convdestination="yes")
    assert done.code == 0, done.log
    outside.assert_untouched()
    assert_same(content, image(workdir / "restored", "vda"))
    assert content.read_bytes() == disk.read_bytes()


def _plain(path, secret):
    path.write_bytes(b"what was there")


def _over(path, secret):
    _image_over(secret, path)


def _beside(path, secret):
    _image_beside(secret, path)


def _empty(path, secret):
    path.touch()


def _dangling(path, secret):
    path.symlink_to(path.parent / "nowhere" / "disk")


def _to_another(path, secret):
    other = path.parent / "other"
    _image_over(secret, other)
    path.symlink_to(other)


_TARGETS = {
    "a file": _plain,
    "an empty file": _empty,
    "an image with a backing file": _over,
    "an image with a data file": _beside,
    "a link to such an image": _to_another,
    "a link to nothing": _dangling,
}


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
@pytest.mark.parametrize("there", _TARGETS)
def test_target_that_leads_elsewhere(host, make_guest, outside, workdir, there, fmt):
    """What was there is replaced whole; qemu-img never opens it, nor what it names."""
    folder = workdir / "images"
    folder.mkdir()
    disk = make_image(folder / "vda", _SIZE, fmt, seed=1)
    content = _chain(host, make_guest(disks=[Disk("vda", disk, fmt)]), "vda")
    disk.unlink()
    _TARGETS[there](disk, outside.secret)
    was_link = disk.is_symlink() and there != "a link to nothing"
    outside.begin()
    done = _restore(host, convdestination="yes")
    assert done.code == 0, done.log
    outside.assert_untouched()
    assert_same(content, disk, fmt)
    assert disk.is_symlink() == was_link
    information = json.loads(run(["qemu-img", "info", "--output=json", "-f", fmt, disk]))
    about = information.get("format-specific", {}).get("data", {})
    assert "backing-filename" not in information and "data-file" not in about
    assert set(os.listdir(folder)) <= {"vda", "other"}
    assert host.leftovers() == []


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
@pytest.mark.parametrize("there", [_image_over, _image_beside], ids=["backing file", "data file"])
def test_device_that_leads_elsewhere(
    host, make_guest, make_loop_device, outside, workdir, there, fmt
):
    """The same on a block device, which is not replaced but written over."""
    file = workdir / "device.img"
    run(["truncate", "-s", 2 * _SIZE, file])
    device = make_loop_device(file)
    run(["qemu-img", "convert", "-n" if fmt == "raw" else "-q", "-f", "qcow2", "-O", fmt,
         make_image(workdir / "start", _SIZE, seed=1), device])  # fmt: skip
    content = _chain(host, make_guest(disks=[Disk("vda", device, fmt)]), "vda")
    planted = there(outside.secret, workdir / "planted").read_bytes()
    with device.open("r+b") as raw:
        raw.write(planted)
    outside.begin()
    done = _restore(host, convdestination="yes")
    assert done.code == 0, done.log
    outside.assert_untouched()
    if fmt == "qcow2":
        assert_same(content, device, fmt)
    else:
        with device.open("rb") as raw:
            assert raw.read(content.stat().st_size) == content.read_bytes()
