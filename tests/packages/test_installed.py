"""The .deb in its Debian: installed, used with that Debian's Bacula (9.6, 15.0), removed.

The tests are steps of one story: each goes on where the one before it ended.
"""

import re

import pytest
from debian_bacula import PACKAGES, DebianBacula
from debian_package import PACKAGE
from harness.disk import MIB, Disk, make_image
from harness.guest import Guest
from harness.process import Failure
from harness.restored import assert_restored, snapshots

_PLUGIN = "/usr/lib/bacula/qemu-fd.so"
_HELPER = "/usr/lib/bacula/qemu-fd-helper"
_EXAMPLE = f"/usr/share/doc/{PACKAGE}/examples/qemu.conf"
_SOCKET = "/run/vm1.qmp"  # as in the example
_RESTORED = "/srv/restored"


@pytest.fixture(scope="module")
def package(debian, deb):
    """The .deb's name inside."""
    return debian.bring(deb)


@pytest.fixture(scope="module")
def bacula(debian, tmp_path_factory):
    """The daemons, none of them started."""
    with DebianBacula(debian, tmp_path_factory.mktemp("bacula")) as daemons:
        yield daemons


@pytest.fixture(scope="module")
def guest(debian, tmp_path_factory):
    """VM1, whose monitor is where the example says."""
    folder = tmp_path_factory.mktemp("guest")
    disks = [
        Disk("ide0-hd0", make_image(folder / "hd0.qcow2", 8 * MIB, seed=1), "qcow2", "ide"),
        Disk("ide0-hd1", make_image(folder / "hd1.raw", 4 * MIB, "raw", seed=2), "raw", "ide"),
    ]
    with Guest(folder / "VM1", name="VM1", disks=disks) as vm:
        debian.show(vm.qmp_socket, on=_SOCKET)
        yield vm


def test_it_brings_what_it_needs(debian, package):
    """A bare Debian gets the File Daemon and qemu-img with it."""
    assert not {"bacula-fd", "qemu-utils"} & debian.installed()
    planned = re.findall(r"^Inst (\S+)", debian.apt("-s", "install", package), re.M)
    assert {"bacula-fd", "qemu-utils", "libjansson4", PACKAGE} <= set(planned)


def test_installed_and_purged_it_leaves_nothing(debian, package):
    """Every file, its mode, owner and content are as they were."""
    debian.apt("install", *PACKAGES, "bacula-fd", "qemu-utils")
    before = debian.files()
    assert len(before) > 5000

    debian.apt("install", package)
    added = set(debian.files()) - set(before)
    listed = set(debian.run("dpkg", "-L", PACKAGE).split())
    assert {path for path in added if "qemu-fd" in path} == {path for path in listed if "qemu-fd" in path}
    assert debian.run("dpkg", "--verify", PACKAGE) == ""

    debian.apt("purge", "--auto-remove", PACKAGE)
    after = debian.files()
    assert after == before


def test_upgraded_it_is_still_there(debian, package):
    """Installed over itself, as an upgrade does it."""
    debian.apt("install", package)
    debian.apt("install", "--reinstall", package)
    assert debian.path(_PLUGIN).exists() and PACKAGE in debian.installed()
    with pytest.raises(Failure, match="is started by qemu-fd.so"):
        debian.run(_HELPER)


def test_the_daemon_loads_it(debian, bacula):
    """With Debian's configuration untouched; the Director takes the example."""
    bacula.configure(_EXAMPLE, Address="localhost", Password=bacula.file_daemon_password())
    debian.run("bacula-dir", "-t", "-u", "bacula", "-g", "bacula", "-c", "/etc/bacula/bacula-dir.conf")
    bacula.start("dir", "sd", "fd")
    status = bacula.console("status client=qemu-host-fd")
    assert re.search(r"^ *Plugin: .*\bqemu(-fd\.so\b|\()", status, re.M), status
    assert "qemu-fd.so" in bacula.log_file("fd").read_text(errors="replace")


def test_it_backs_up_and_restores_a_guest(debian, bacula, guest):
    """A Full and an Incremental of the example's job; then the images, byte for byte."""
    for level in ("Full", "Incremental"):
        for disk in guest.disks:
            guest.random_writes(disk, 10, seed=len(level))
        held = snapshots(guest)
        output = bacula.console(f"run job=VM1 level={level} yes", "wait", "messages")
        assert re.search(r"Termination: +Backup OK$", output, re.M), output
        assert f"Dumped VM1/ide0-hd0: {level}, " in output
        guest.assert_clean()
    restore = f"restore client=qemu-host-fd fileset=VM1 where={_RESTORED} select current all done yes"
    output = bacula.console(restore, "wait", "messages")
    assert re.search(r"Termination: +Restore OK$", output, re.M), output
    assert_restored(held, debian.path(_RESTORED), "VM1")
    working_directory = debian.path("/var/lib/bacula")
    assert [path for path in working_directory.iterdir() if path.is_dir()] == [], "a job's folder is left"


def test_removed_it_is_gone(debian, bacula):
    """Also while the daemon runs; the next start of the daemon has no trace of it."""
    debian.apt("purge", PACKAGE)
    assert "Version:" in bacula.console("status client=qemu-host-fd")
    bacula.stop("fd")
    bacula.start("fd")
    assert not re.search(r"\bqemu(-fd|\()", bacula.console("status client=qemu-host-fd"))
    assert not debian.succeeds("dpkg", "-s", PACKAGE)
    assert [path for path in debian.files() if "qemu-fd" in path] == []
