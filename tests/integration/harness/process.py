"""Child processes that never outlive the tests, and waiting for things."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

# Seconds for what only has to happen at all: a machine may have much else to do.
PATIENCE = 180

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """The harness could not do what the test asked for."""


def _die_with_parent():
    """Ask the kernel for SIGKILL when the thread that started us is gone.

    This holds even when pytest itself is killed.  It is tied to the *thread*:
    daemons must be started from one that lives as long as they are needed.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        os._exit(127)


def spawn(argv, log, env=None, user=None, **popen_options):
    """Start argv in a session of its own with its output appended to log."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            [str(argument) for argument in argv],
            stdin=popen_options.pop("stdin", subprocess.DEVNULL),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            user=user,
            start_new_session=True,
            # The kernel forgets the death signal when the user changes;
            # subprocess calls this after it has done so.
            preexec_fn=_die_with_parent,
            **popen_options,
        )


def kill_group(process, number=signal.SIGKILL):
    """Send a signal to a spawned process and everything it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def stop(process, grace=10):
    """End a spawned process: ask, wait, then kill; its children always die."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    kill_group(process)
    process.wait()


def run(argv, **options):
    """Run a command to its end; a failure shows what it printed."""
    command = [str(argument) for argument in argv]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise Failure(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def wait_until(condition, timeout, what, interval=0.05):
    """Poll until condition() is true and return it; what is for the error."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout} s in vain for {what}")
        time.sleep(interval)


def processes_of(program):
    """Process ids of those that run a program, in order."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "exe").readlink() == program:
                found.append(int(process.name))
    return sorted(found)


def kill_all_of(program):
    """Kill those that run a program, also where one starts another."""
    deadline = time.monotonic() + PATIENCE
    while (found := processes_of(program)) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
