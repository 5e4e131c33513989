"""A network of this process's own, and of all that it starts: a loopback and nothing else.

Ports such as Proxmox' 8006, and abstract UNIX sockets, are then free whatever the
machine runs: a real Proxmox server, a Bacula, other tests.
"""

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_INTERFACE = struct.Struct("16sH22x")  # struct ifreq with its flags
_libc = ctypes.CDLL(None, use_errno=True)


def enter_own_network():
    """Leave the machine's network; an OSError where the machine does not allow it.

    It is the calling thread that leaves, and what it starts from then on: threads as well.
    """
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _INTERFACE.pack(b"lo", 0))
        _, flags = _INTERFACE.unpack(answer)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _INTERFACE.pack(b"lo", flags | _IFF_UP))
