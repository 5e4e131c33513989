"""Which QEMU runs the demo's guest: one whose disks can be streamed, where there is one."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

_TOP = Path(__file__).resolve().parents[1]
_QEMUS = _TOP / "build" / "qemu"
MACHINES = "qemu-system-x86_64"
_FETCHED = ("10.0", "newest")  # of tools/fetch-qemu; the first is fetched when none is there
_FIRST = (9, 1)  # whose version can stream; the plugin asks QEMU itself
_FETCH_LIMIT = 300  # seconds


def _can_stream(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"version (\d+)\.(\d+)", said.stdout)
    return bool(number) and tuple(map(int, number.groups())) >= _FIRST


def _program_of(name):
    return _QEMUS / name / "usr" / "bin" / MACHINES


def _there():
    """A program that can stream and need not be fetched, or None."""
    candidates = [shutil.which(MACHINES), *(_program_of(name) for name in _FETCHED)]
    found = (program for program in candidates if program and Path(program).exists())
    return next((str(program) for program in found if _can_stream(program)), None)


def _fetch(screen):
    """Unpack one below build/qemu; why it did not work, "" when it did."""
    screen.say(
        f"The QEMU here is older than {_FIRST[0]}.{_FIRST[1]}, whose disks cannot be streamed: Debian's"
        f" {_FETCHED[0]} is unpacked in build/qemu, about 80 MB, once. Nothing is installed."
    )
    screen.progress(f"fetching QEMU {_FETCHED[0]}, {_FETCH_LIMIT} seconds at most")
    command = [_TOP / "tools" / "fetch-qemu", _QEMUS, _FETCHED[0]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=_FETCH_LIMIT)
        except BaseException as stopped:
            _kill(process)
            if isinstance(stopped, subprocess.TimeoutExpired):
                return f"it took longer than {_FETCH_LIMIT} seconds"
            raise
    lines = said.strip().splitlines() or ["no reason was given"]
    return "" if process.returncode == 0 and _there() else lines[-1].removeprefix("fetch-qemu: ")


def _kill(process):
    """With what it has started, as apt."""
    try:
        subprocess.run(["kill", f"-{int(signal.SIGKILL)}", "--", f"-{process.pid}"], check=False)
    finally:
        process.wait()


def choose(screen):
    """The program; without one that can stream it is the machine's own, and the screen says why."""
    if program := _there():
        return program
    why = _fetch(screen)
    if program := _there():
        return program
    screen.say(f"It could not be had ({why}). So the guest's disks are dumped, not streamed.")
    return MACHINES
