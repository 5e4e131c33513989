"""qemu-fd-open: what it says of volumes, and disks put together of what it reads."""

import json
import os
import subprocess
from pathlib import Path

from .disk import assert_same
from .process import Failure, run

_BUILT = Path(__file__).resolve().parents[3] / "build" / "qemu-fd-open"
PROGRAM = Path(os.environ.get("QEMU_FD_OPEN", _BUILT)).resolve()


def listed(*volumes, guest=None):
    """What list --json says; complaints about volumes are dropped."""
    chosen = ["--guest", guest] if guest else []
    argv = [PROGRAM, "list", "--json", *chosen, *volumes]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(done.stderr)
    return json.loads(done.stdout)


def states(*volumes, guest="VM1"):
    """{job's unique name: {disk: entry}} of one guest, newest first; disks have a trouble or are complete."""
    found = [entry for entry in listed(*volumes)["guests"] if entry["name"] == guest]
    return {state["job"]: {disk["name"]: disk for disk in state["disks"]} for state in found[0]["states"]} if found else {}


def troubles(*volumes, guest="VM1"):
    """{(job's unique name, disk): why it is not complete} of those that are not."""
    return {
        (job, name): disk["trouble"]
        for job, disks in states(*volumes, guest=guest).items()
        for name, disk in disks.items()
        if "trouble" in disk
    }


def saved_file(job, name, path, *volumes):
    """Write one saved file, as it was saved, to a path."""
    with Path(path).open("wb") as file:
        done = subprocess.run(
            [PROGRAM, "cat", "--job", job, name, *volumes], stdout=file, stderr=subprocess.PIPE, check=False
        )
    if done.returncode:
        raise Failure(done.stderr.decode(errors="replace"))
    return path


def put_together(disk, folder, *volumes):
    """An image of a disk's entry, each part on the one before it."""
    base = None
    assert "trouble" not in disk, disk
    for number, part in enumerate(disk["parts"]):
        path = saved_file(part["job"], part["name"], Path(folder) / f"{number}.qcow2", *volumes)
        assert path.stat().st_size == part["size"]
        if base:
            run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base, path])
        base = path
    return base


def assert_states(wanted, folder, *volumes, guest="VM1"):
    """Every disk of every job is what it held: wanted is {unique name: {disk: copy}}."""
    found = states(*volumes, guest=guest)
    assert set(found) == set(wanted)
    folder.mkdir(exist_ok=True)
    for job, contents in wanted.items():
        assert set(found[job]) == set(contents)
        for disk, content in contents.items():
            assert_same(content, put_together(found[job][disk], folder, *volumes))
