"""Ports that no other test run on this machine takes."""

import itertools
import socket

# Below Linux's range for outgoing connections, which begins at 32768: a
# daemon that is restarted finds its port as it left it.
_FIRST, _LAST, _BLOCK = 20000, 32000, 100

_claims = []


def _claim_block():
    """The first port of a block that is this process's own until it ends.

    The claim is an abstract UNIX socket, which the kernel gives to one process
    and takes back by itself.
    """
    for first in range(_FIRST, _LAST, _BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0qemu-fd-tests-{first}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return first
    raise OSError(f"all ports from {_FIRST} to {_LAST} are claimed by test runs")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _own_ports():
    first = _claim_block()
    for offset in itertools.cycle(range(_BLOCK)):
        if _is_free(first + offset):
            yield first + offset


_ports = _own_ports()


def free_ports(count):
    """Ports of our own that nobody listens on now."""
    return [next(_ports) for _ in range(count)]
