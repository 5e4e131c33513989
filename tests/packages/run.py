"""Build the .debs, or run the tests of the packages, with mounts and processes that end when this does.

    run.py [pytest options]
    run.py --debs 12 13

Needs root.  What is mounted is seen by that program only and goes with it; so
does every process, as all of them live in a PID name space whose first process
it is.
"""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_OWN_MOUNTS = _HERE.parent / "integration" / "harness" / "own_mounts.py"
_IN_OWN_PROC = 'mount -t proc proc /proc && exec "$0" "$@"'


def _lock():
    """Keep a second run away from the folder of this one."""
    folder = _HERE.parents[1] / "build" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("packages are being built or tested here")
    return lock


def _end(started):
    for process in started:
        process.kill()
    sys.exit("told to end")


def _program(options):
    if options[:1] == ["--debs"]:
        return _HERE / "debian_package.py", *options[1:]
    return "-m", "pytest", "-c", _HERE / "pytest.ini", _HERE, *options


def main():
    if os.getuid():
        sys.exit("a package is built and installed in a Debian in a folder, which root makes: use sudo")
    lock = _lock()
    # Ctrl-C reaches pytest too, which cleans up and ends.  unshare passes over
    # SIGTERM; when it is killed, its name spaces end.
    started = []
    signal.signal(signal.SIGTERM, lambda *_: _end(started))
    started.append(subprocess.Popen([
        *("setpriv", "--pdeathsig", "KILL", sys.executable, _OWN_MOUNTS),
        *("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", _IN_OWN_PROC),
        *(sys.executable, *_program(sys.argv[1:])),
    ], pass_fds=[lock.fileno()], env={**os.environ, "PYTHONPATH": str(_HERE.parent / "integration")}))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(started[0].wait())


if __name__ == "__main__":
    main()
