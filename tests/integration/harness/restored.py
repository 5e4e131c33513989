"""What a restore left behind: where it lies, and whether it is in order."""

import json
import re
from pathlib import Path

from .disk import assert_same
from .process import run


def folder(root, guest_name="vm", vmid=0):
    """Where a guest's files lie below where= or the working directory."""
    return Path(root) / "@qemu" / guest_name / str(vmid)


def image(root, disk_name, guest_name="vm", vmid=0):
    """Path of one restored image."""
    return folder(root, guest_name, vmid) / f"{disk_name}.qcow2"


def config(root, guest_name="vm", vmid=0):
    """The restored config.json, read."""
    return json.loads((folder(root, guest_name, vmid) / "config.json").read_text())


def files(root):
    """All files below a folder, by name relative to it, whoever made them."""
    return sorted(
        str(path.relative_to(root)) for path in Path(root).rglob("*") if not path.is_dir()
    )


def snapshots(guest):
    """Copies of what all disks of a guest hold now, by their names in a backup."""
    return {
        disk.saved_name: guest.snapshot(disk)
        for disk in guest.disks.values()
        if not disk.readonly
    }


def assert_restored(contents, root, guest_name="vm", vmid=0):
    """Every disk's image has the content that the copy of snapshots() has, and stands alone."""
    for name, content in contents.items():
        path = image(root, name, guest_name, vmid)
        run(["qemu-img", "check", "-q", "-f", "qcow2", path])
        information = json.loads(run(["qemu-img", "info", "--output=json", path]))
        assert information["format"] == "qcow2"
        assert "backing-filename" not in information, f"{path} leans on another file"
        assert_same(content, path)


def plugin_lines(log):
    """The plugin's own lines of a job log, without what Bacula puts in front."""
    return re.findall(r"JobId \d+: (?:(?:Error|Warning|Fatal error): )?qemu: (.*)", log)
