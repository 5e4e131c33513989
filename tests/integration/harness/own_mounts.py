"""Run a command with mounts and a host name of its own: own_mounts.py COMMAND...

As unshare --mount --uts, which cannot do it in a chroot: there / is no mount
point whose propagation could be switched off.
"""

import ctypes
import os
import sys

_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), function.__name__)


def _leave_shared_mounts():
    """Enter a copy of all mounts that nobody sees; / and . stay where they are."""
    _call(_libc.unshare, _CLONE_NEWNS | _CLONE_NEWUTS)
    root, here = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in "/.")
    # Entering one's own name space leads out of a chroot, to the topmost mount.
    with open("/proc/self/ns/mnt", "rb") as namespace:
        _call(_libc.setns, namespace.fileno(), _CLONE_NEWNS)
    _call(_libc.mount, None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)


if __name__ == "__main__":
    _leave_shared_mounts()
    os.execvp(sys.argv[1], sys.argv[1:])
