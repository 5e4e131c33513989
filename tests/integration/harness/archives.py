"""Saved jobs of fd-host as a hostile Storage Daemon or catalog would give them back."""

import contextlib
import json
import os
import shutil

from .disk import MIB, Disk, make_image
from .fd_host import FdHost
from .guest import Guest
from .watch import Watch

IMAGE, CONFIG = "/@qemu/VM1/0/vda.qcow2", "/@qemu/VM1/0/config.json"
_CANARY = b"what was there"
_ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
_PASSED_OVER = 1
_PIECE = 700  # bytes of a description in one object of the catalog


@contextlib.contextmanager
def saved_archives(folder):
    """A folder with the archives "full" and "increment", and what they must restore."""
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
        self.watch = Watch(self.outside)

    def restore(self, where=None, **form):
        """Restore all there is; the log.  What is done outside counts from here on."""
        self.watch.events()
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
            config = self.data(archive, CONFIG)
            description = json.loads(config.read_text())
            change(description)
            config.write_text(json.dumps(description))
            manifest = json.loads(path.read_text())
            for file in manifest["files"]:
                if file["name"] == CONFIG:
                    file["size"] = config.stat().st_size
                elif "object" in file and file["name"] != "RestoreOptions":
                    file["object"] = "no object of ours"
            path.write_text(json.dumps(manifest))

    def rewrite_objects(self, change):
        """Let change() edit what the catalog knows of the newest job's guest."""
        path = self.host.archive(self.names[-1]) / "manifest.json"
        manifest = json.loads(path.read_text())
        objects = [
            file for file in manifest["files"] if file.get("object", "").startswith("qemu-fd-")
        ]
        pieces = [file["object"].rstrip("\0").partition("\n") for file in objects]
        description = json.loads("".join(piece for _, _, piece in pieces))
        owner = pieces[0][0].split(" ", 4)[4]
        change(description)
        text = json.dumps(description)
        cut = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
        for number, piece in enumerate(cut, 1):
            entry = objects[number - 1] if number <= len(objects) else dict(objects[0])
            entry["object"] = f"qemu-fd-object 1 {number} {len(cut)} {owner}\n{piece}"
            if number > len(objects):  # at the end: a file's place says where its bytes lie
                manifest["files"].append(entry)
        path.write_text(json.dumps(manifest))

    def assert_untouched(self):
        """Nothing outside was so much as opened, nothing unfinished is left to the daemon."""
        assert self.watch.events() == []
        assert os.listdir(self.outside) == ["canary"]
        assert self.canary.read_bytes() == _CANARY
        assert self.host.leftovers() == []

    def close(self):
        """Let go of the watch."""
        self.watch.close()
