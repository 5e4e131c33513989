"""The qemu-img that a File Daemon finds first, and that does as a test says; and its qemu-nbd."""

import os
import shutil
import signal
from pathlib import Path

from .process import PATIENCE, wait_until

_SCRIPT = """#!/bin/sh
cd {folder}
order="" pattern=""
if [ -e "orders/$1" ]; then
    IFS= read -r order <"orders/$1"
    pattern=${{order#* }}
    order=${{order%% *}}
fi
case "$*" in $pattern) ;; *) order="" ;; esac
case $order in
hold)
    echo $$ >held.new && mv held.new held
    while [ -e "orders/$1" ] || [ -e "kept.$$" ]; do sleep 0.02; done
    ;;
fail)
    echo "qemu-img: a test wants it to fail" >&2
    exit 1
    ;;
esac
exec {program} "$@"
"""


class ImageTool:
    """A folder for the File Daemon's PATH with a qemu-img that mostly is the real one.

    Orders are given by subcommand ("create", "check", …) and, when its arguments matter,
    by a shell pattern that all of them together must match.
    """

    def __init__(self, folder, others=("sh", "sleep", "cat")):
        self.folder = Path(folder)
        self._orders = self.folder / "orders"
        self._orders.mkdir(parents=True)
        self._program = self.folder / "qemu-img"
        for name in others:
            (self.folder / name).symlink_to(shutil.which(name))
        self._server = self.folder / "qemu-nbd"
        self.install()

    @property
    def environment(self):
        """For the File Daemon: nothing but this folder is searched."""
        return {"PATH": str(self.folder)}

    def install(self):
        """Put the programs there, whatever was done to them."""
        text = _SCRIPT.format(folder=self.folder, program=shutil.which("qemu-img"))
        self._program.unlink(missing_ok=True)
        self._program.write_text(text)
        self._program.chmod(0o755)
        self.uninstall_server()
        self._server.symlink_to(shutil.which("qemu-nbd"))

    def uninstall_server(self):
        """Let there be no qemu-nbd: parts wait until they have come, and qemu-img patches them in."""
        self._server.unlink(missing_ok=True)

    def break_server(self, environment):
        """A qemu-nbd that runs with more in its environment than the daemon gives it."""
        self.uninstall_server()
        words = " ".join(f"{name}='{value}'" for name, value in environment.items())
        self._server.write_text(f'#!/bin/sh\n{words} exec {shutil.which("qemu-nbd")} "$@"\n')
        self._server.chmod(0o755)

    def uninstall(self):
        """Let there be no qemu-img."""
        self._program.unlink()

    def reset(self):
        """Let everything through."""
        for order in self._orders.iterdir():
            order.unlink()
        self._forget_held()
        self.install()

    def hold(self, command, pattern="*"):
        """Let calls wait until they are released."""
        self._order(command, "hold", pattern)

    def fail(self, command, pattern="*"):
        """Let calls fail with a line on standard error."""
        self._order(command, "fail", pattern)

    def release(self, command):
        """Let calls through again, those that wait too."""
        (self._orders / command).unlink(missing_ok=True)
        self._forget_held()

    def keep_held(self):
        """Let the call that waits go on waiting until the release, and all others through."""
        (self.folder / f"kept.{self.wait_held()}").touch()
        for order in self._orders.iterdir():
            order.unlink()

    def wait_held(self, timeout=PATIENCE):
        """Wait until a call waits; its process id."""
        held = self.folder / "held"
        wait_until(held.exists, timeout, "a qemu-img that waits", interval=0.01)
        return int(held.read_text())

    def is_held(self):
        """Whether a call waits that lives."""
        held = self.folder / "held"
        return held.exists() and is_tool(int(held.read_text()))

    def kill_held(self):
        """Kill the call that waits, as the kernel does when memory runs out."""
        os.kill(self.wait_held(), signal.SIGKILL)

    def _forget_held(self):
        for mark in (self.folder / "held", *self.folder.glob("kept.*")):
            mark.unlink(missing_ok=True)

    def _order(self, command, what, pattern):
        (self.folder / "held").unlink(missing_ok=True)
        order = self._orders / f".{command}"
        order.write_text(f"{what} {pattern}\n")
        order.rename(self._orders / command)


def server_of(folder):
    """The qemu-nbd that has an image in the folder open; None when none has."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(arguments[0])).name == "qemu-nbd" and any(
            f"/{folder.name}/" in os.fsdecode(argument) for argument in arguments  # over a link, too
        ):
            return int(process.name)
    return None


def written_by(pid):
    """Bytes that a process wrote to files, as far as it lives."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in lines)["wchar"])


def is_tool(pid):
    """Whether a process is a qemu-img or a qemu-nbd that lives."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"qemu-img" in line or b"qemu-nbd" in line
    except FileNotFoundError:
        return False
