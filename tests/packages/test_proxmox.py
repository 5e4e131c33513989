"""README's first steps on a Debian that looks like a host of Proxmox VE: built, installed, used.

What stands in: packages that relate to others as Proxmox' own do (proxmox_packages.py), the API and the
files of tests/fakes/proxmox, and guests of this machine's QEMU.  The tests are steps of one story: each
goes on where the one before it ended.
"""

import re

import proxmox_packages
import pytest
from debian_bacula import PACKAGES, DebianBacula
from debian_folder import SUITES
from debian_package import PACKAGE
from harness.pve_guest import Volume
from harness.process import Failure, run
from harness.proxmox import FakeProxmox
from harness.pve_restored import assert_volumes, contents
from source import TOP, WORK

_EXAMPLE = f"/usr/share/doc/{PACKAGE}/examples/proxmox.conf"
_CLONE = "/root/qemu-fd"
_VERSIONS = {"12": "8.4", "13": "9.2"}
_CHANGE = re.compile(r"^(Inst|Remv|Purg) (\S+)", re.M)


@pytest.fixture(scope="module")
def host(debian):
    """Proxmox VE, which the tests before this module may have left a Debian with Bacula."""
    proxmox_packages.install(debian)
    assert proxmox_packages.PACKAGES < debian.installed()
    return debian


@pytest.fixture(scope="module")
def bacula(host, release, tmp_path_factory):
    """The daemons, none of them started."""
    node = f"pve{_VERSIONS[release][0]}"
    with DebianBacula(host, tmp_path_factory.mktemp("bacula"), hostname=node) as daemons:
        yield daemons


@pytest.fixture(scope="module")
def pve(host, bacula, release, tmp_path_factory):
    """The API where it always is, and the files where they belong."""
    folder = tmp_path_factory.mktemp("pve")
    storages = (("local", "dir"), ("data", "dir"))
    with FakeProxmox(_VERSIONS[release], folder, storages=storages, wrapper=bacula.in_network()) as stand_in:
        host.show(folder, on=folder)
        host.show(stand_in.etc_pve, on="/etc/pve")
        host.show(stand_in.run / "qemu-server", on="/run/qemu-server")
        host.show(stand_in.run / "qmeventd.sock", on="/run/qmeventd.sock")
        yield stand_in


def _commands():
    """The shell's of the first of README's five minutes, in their order."""
    section = (TOP / "README.md").read_text().partition("## Five-minute start")[2]
    step = re.search(r"^1\. .*?(?=^2\. )", section, re.M | re.S)[0]
    return re.findall(r"^       (\S.*)$", step, re.M)


def _resources(page):
    """The FileSet and the Job among a page's first steps."""
    return re.search(r"^       FileSet \{\n.*?^       Job \{\n.*?^       \}\n", (TOP / page).read_text(), re.M | re.S)[0]


def _typed(page, word):
    """What a page has for bconsole's prompt that begins so."""
    return re.findall(rf"^ +\* ({word}\b.*)$", (TOP / page).read_text(), re.M)


def _planned(debian, *arguments):
    """What apt would install, and what it would remove, in a pair."""
    changes = _CHANGE.findall(debian.apt("-s", *arguments))
    return ({name for what, name in changes if what == "Inst"},
            {name for what, name in changes if what != "Inst"})


def test_qemu_utils_would_remove_proxmox(host):
    """Which is why nothing here asks for it: the stand-ins do what Proxmox' packages do."""
    _, removed = _planned(host, "install", "qemu-utils")
    assert proxmox_packages.PACKAGES <= removed


def test_bootstrap_refuses_what_needs_debians_qemu(host):
    """The demo says why in a line, and nothing is installed."""
    bootstrap = host.bring(TOP / "bootstrap")
    before = host.installed()
    with pytest.raises(Failure, match="this is a Proxmox VE host, on which Debian's QEMU cannot be installed"):
        host.run("sh", bootstrap, "demo")
    assert host.installed() == before


def test_readmes_commands_build_and_install(host, release):
    """From a clone: as they stand, but for the Debian's number and the restart, for which there is no systemd."""
    build, install, restart = _commands()
    host.apt("install", "git", "ca-certificates")
    run(["git", "clone", "-q", f"file://{TOP}", host.path(_CLONE)])
    # What it would fetch once more: that it can, it has shown for us.
    base = SUITES[release]
    host.show(WORK / base, on=f"{_CLONE}/build/packages/{base}")
    host.run("sh", "-c", f"cd {_CLONE} && {build.replace('DEBIAN=12', f'DEBIAN={release}')}")
    install = install.replace("deb12", f"deb{release}")
    planned, removed = _planned(host, *_arguments(host, install))
    assert {"bacula-fd", PACKAGE} <= planned and not removed
    assert not [name for name in planned if "qemu" in name and name != PACKAGE]
    host.run("sh", "-c", f"cd {_CLONE} && {install.replace('apt-get', 'apt-get -y')}")
    assert {*proxmox_packages.PACKAGES, PACKAGE, "bacula-fd"} < host.installed()
    assert restart == "systemctl restart bacula-fd"


def _arguments(host, command):
    program, action, package = command.split()
    assert (program, action) == ("apt-get", "install")
    (path,) = host.path(_CLONE).glob(package)
    return action, f"{_CLONE}/{path.relative_to(host.path(_CLONE))}"


def test_the_daemon_starts_and_says_what_is_missing(host, bacula):
    """Before Proxmox' API answers: a listing says in one line what it did not find."""
    host.apt("install", *PACKAGES)
    bacula.configure(_EXAMPLE, Address="localhost", Password=bacula.file_daemon_password())
    bacula.start("dir", "sd", "fd")
    assert re.search(r"^ *Plugin: .*\bqemu(-fd\.so\b|\()", bacula.console("status client=pve1-fd"), re.M)
    said = bacula.console('.ls plugin="qemu: mode=PVE" client=pve1-fd path=/vm')
    assert len(re.findall(r"\bqemu: .*/etc/pve/", said)) == 1, said


def test_it_backs_up_a_guest_and_makes_a_new_one_of_it(host, bacula, pve):
    """The example's job, and a restore to where=/: the new guest's volumes, byte for byte."""
    guest = pve.guest(100, "vm1", disks={"scsi0": Volume(), "virtio1": Volume("data", fmt="raw", seed=2)})
    assert "vm1" in bacula.console('.ls plugin="qemu: mode=PVE" client=pve1-fd path=/vm')
    held = contents(guest)
    for level in ("Full", "Incremental"):
        output = bacula.console(f"run job=pve1 level={level} yes", "wait", "messages")
        assert re.search(r"Termination: +Backup OK$", output, re.M), output
        assert f"Dumped vm1/drive-scsi0: {level}, " in output
    restore = 'restore client=pve1-fd fileset="Guests of a Proxmox node" where=/ select current all done yes'
    output = bacula.console(restore, "wait", "messages")
    assert re.search(r"Termination: +Restore OK$", output, re.M), output
    assert_volumes(pve, 101, held)
    guest.assert_clean()
    _assert_no_folders(host)


def _assert_no_folders(host):
    folders = [path for path in host.path("/var/lib/bacula").iterdir() if path.is_dir()]
    assert folders == [], "a job's folder is left"


def test_readmes_five_minutes(host, bacula, pve):
    """Its FileSet, Job and restore with what it says of Proxmox VE; here are two Clients, so one is named."""
    genuine, proxmox = re.findall(r'Plugin = "qemu: .*"', (TOP / "README.md").read_text())
    bacula.add(_resources("README.md").replace(genuine, proxmox))
    held = contents(pve.guests[100])
    output = bacula.console(*_typed("README.md", "run"), "wait", "messages")
    assert "Dumped vm1/drive-scsi0: Full, " in output
    _, restore = _typed("README.md", "restore")
    output = bacula.console(f"{restore} client={bacula.own_client()}", "wait", "messages")
    assert re.search(r"Termination: +Restore OK$", output, re.M), output
    assert_volumes(pve, 102, held)
    _assert_no_folders(host)


def test_first_screen_of_the_page_on_proxmox(host, bacula, pve):
    """The same of docs/proxmox.md: all guests, and one of them back."""
    page = "docs/proxmox.md"
    bacula.add(_resources(page))
    held = contents(pve.guests[100])
    output = bacula.console(*_typed(page, "run"), "wait", "messages")
    assert "Dumped vm1/drive-scsi0: Full, " in output
    (restore,) = _typed(page, "restore")
    (tree,) = re.findall(r"^ +In the tree (.*);", (TOP / page).read_text(), re.M)
    restore += " client=pve1-fd"
    output = bacula.console(restore, *re.findall(r"`([^`]+)`", tree), "yes", "wait", "messages")
    assert re.search(r"Termination: +Restore OK$", output, re.M), output
    assert_volumes(pve, 103, held)
    _assert_no_folders(host)


def test_removed_it_takes_nothing_of_proxmox_along(host):
    """Nor what it brought, until somebody asks for that."""
    host.apt("purge", PACKAGE)
    assert proxmox_packages.PACKAGES < host.installed()
    assert "bacula-fd" in host.installed()
