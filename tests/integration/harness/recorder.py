"""A qemu-img in the File Daemon's PATH that notes how it is run and then becomes the real one."""

import json
import os
import shutil
from pathlib import Path

_SCRIPT = """#!/usr/bin/python3 -IS
import json, os, subprocess, sys
folder, real = {folder!r}, {real!r}
fail, plant = (os.path.join(folder, name) for name in ("fail", "plant"))
record = {{
    "argv": sys.argv,
    "environment": open("/proc/self/environ").read().split("\\0")[:-1],
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "parent": os.readlink("/proc/%d/exe" % os.getppid()),
}}
with open(os.path.join(folder, "record"), "a") as file:
    file.write(json.dumps(record) + "\\n")
if os.path.exists(fail) and open(fail).read() == sys.argv[1]:
    sys.stderr.write("qemu-img: warning: first\\nqemu-img: told so\\n")
    sys.exit(3)
if os.path.exists(plant) and sys.argv[1] == "create":
    subprocess.run([real, *sys.argv[1:]], check=True)
    backing = ["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", open(plant).read()]
    os.execv(real, [real, *backing, sys.argv[-2]])
os.execv(real, ["qemu-img", *sys.argv[1:]])
"""


class QemuImgRecorder:
    """Where it lies, and what it noted; fail() and plant() make it do worse."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        script = self.folder / "qemu-img"
        script.write_text(_SCRIPT.format(folder=str(folder), real=shutil.which("qemu-img")))
        script.chmod(0o755)
        self.environment = {"PATH": f"{folder}:{os.environ['PATH']}"}

    def records(self):
        """Every run: argv, environment, open descriptors, the program that ran it."""
        return [json.loads(line) for line in (self.folder / "record").read_text().splitlines()]

    def fail(self, command=""):
        """From now on this command of qemu-img ends with status 3 and two lines of reasons."""
        (self.folder / "fail").write_text(command)

    def plant(self, path):
        """Images that are created name a backing file, as a QEMU could write it."""
        (self.folder / "plant").write_text(str(path))
