"""What tests of jobs on a Proxmox host have in common."""


import pytest

from . import listing
from .pace import Stopwatch
from .process import PATIENCE, wait_until

LINE = "qemu: mode=PVE"


def pairs(*versions):
    """Run a test with these versions of (Bacula, Proxmox)."""
    return pytest.mark.parametrize(
        "bacula_version, version", versions, indirect=["bacula_version"], scope="module"
    )


def seldom(*values):
    """One set of a test's parameters for make check-all alone."""
    return pytest.param(*values, marks=pytest.mark.long)


all_proxmox = pairs(("9.6.7", "6.4"), ("15.0.3", "8.4"), ("15.0.3", "9.2"),
                    seldom("15.0.3", "7.2"), seldom("15.0.3", "9.1"))
old_and_new = pairs(("9.6.7", "6.4"), ("15.0.3", "9.2"))
one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


def start_bacula(make_bacula, pve, line=LINE):
    """A Bacula whose File Daemon runs on the host, with the job VM."""
    return make_bacula(filesets={"VM": [line]}, fd_wrapper=pve.fd_wrapper)


def assert_nothing_left(pve, bacula):
    """Neither in QEMU nor with qmeventd nor in the working directory."""
    wait_until(lambda: not pve.qmeventd.holders, PATIENCE, "qmeventd to be let go")
    for guest in pve.guests.values():
        if guest.alive:
            guest.assert_clean()
    assert bacula.fd_leftovers() == []


def with_guest(pve):
    """The host, with a guest that is in its list alone."""
    pve.control("add_guest", vmid=100, config={"name": "vm1"}, running=True)
    return pve


def ask(bacula, more=""):
    """What .ls finds: the guests' names, or in words why not."""
    output = bacula.ls(f"{LINE} {more}", "/vm")
    return listing.own_lines(output) or [entry[-1] for entry in listing.entries(output)]


def assert_refused(bacula, more, *parts):
    """.ls says one line that has these words, soon."""
    with Stopwatch() as watch:
        (said,) = ask(bacula, more)
    assert watch.seconds < 20
    for part in parts:
        assert part in said, said
