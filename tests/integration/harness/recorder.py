"""A qemu-img and a qemu-nbd in the File Daemon's PATH that note how they are run and then become the real ones."""

import json
import shutil
from pathlib import Path

_SCRIPT = """#!/usr/bin/python3 -IS
import json, os, subprocess, sys
folder, real = {folder!r}, {real!r}
def siblings():
    tasks = "/proc/%d/task" % os.getppid()
    for task in os.listdir(tasks):
        for child in open("%s/%s/children" % (tasks, task)).read().split():
            yield open("/proc/%s/cmdline" % child, "rb").read().split(b"\\0")
fail, plant = (os.path.join(folder, name) for name in ("fail", "plant"))
record = {{
    "argv": sys.argv,
    "environment": open("/proc/self/environ").read().split("\\0")[:-1],
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "servers": sum(b"--socket" in line for line in siblings()),
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
os.execv(real, [os.path.basename(real), *sys.argv[1:]])
"""


class QemuImgRecorder:
    """Where they lie, and what they noted; fail() and plant() make them do worse.

    Nothing else is in the PATH, nor is there a qemu-nbd without server.
    """

    def __init__(self, folder, server=True):
        self.folder = Path(folder)
        self.folder.mkdir()
        for program in ["qemu-img", *(["qemu-nbd"] if server else [])]:
            script = self.folder / program
            script.write_text(_SCRIPT.format(folder=str(folder), real=shutil.which(program)))
            script.chmod(0o755)
        self.environment = {"PATH": str(folder)}

    def records(self):
        """Every run: argv, environment, open descriptors, the program that ran it, the servers it has then."""
        return [json.loads(line) for line in (self.folder / "record").read_text().splitlines()]

    def fail(self, command=""):
        """From now on this command of qemu-img (or first argument of qemu-nbd) ends with status 3 and two lines of reasons."""
        (self.folder / "fail").write_text(command)

    def plant(self, path):
        """Images that are created name a backing file, as a QEMU could write it."""
        (self.folder / "plant").write_text(str(path))
