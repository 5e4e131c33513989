"""The .rpm: built here from the tarball, looked into, never installed."""

import re
from pathlib import Path

import pytest
import rpm_package
from harness.process import run
from source import WORK, VERSION, exported

_DOCUMENTS = f"/usr/share/doc/{rpm_package.PACKAGE}"
_CODE = ("/opt/bacula/plugins/qemu-fd.so", "/opt/bacula/plugins/qemu-fd-helper")
_FLAGS = "-Wl,-z,relro -Wl,-z,now"


@pytest.fixture(scope="module")
def package():
    """As for bacula.org's packages."""
    return rpm_package.build(WORK / "rpm")


def test_what_is_in_it(package):
    """Plugin, the program beside it, man page, documents; directories of its own only."""
    files = rpm_package.query(package, "-l")
    page = [path for path in files if "/man/" in path]
    assert len(page) == 1 and re.fullmatch(r"/usr/share/man/man5/qemu-fd\.5(\.gz)?", page[0])
    assert set(_CODE) < set(files) and "/opt/bacula" not in files
    for name in ("README.md", "docs/install.md", "examples/proxmox.conf"):
        assert f"{_DOCUMENTS}/{name}" in files
    assert [path for path in files if path.endswith("/LICENSE")]


def test_what_it_says_of_itself(package):
    fields = rpm_package.query(package, "--queryformat", "%{VERSION} %{ARCH} %{LICENSE}\\n")
    assert fields == [f"{VERSION} x86_64 AGPL-3.0-or-later"]


def test_what_it_requires(package):
    """qemu-img, whatever package has it, and the libraries that rpm finds in the plugin."""
    requires = rpm_package.query(package, "--requires")
    assert "/usr/bin/qemu-img" in requires
    for library in ("libcurl.so.4", "libjansson.so.4", "libnbd.so.0", "libpcre2-8.so.0", "libcrypto.so.3"):
        assert any(line.startswith(library) for line in requires), library


def test_it_takes_the_place_of_the_first_version(package):
    """Which had another name."""
    (obsoleted,) = rpm_package.query(package, "--obsoletes")
    assert obsoleted == f"bacula-qemu-plugin < {VERSION}-1"
    assert f"bacula-qemu-plugin = {VERSION}-1" in rpm_package.query(package, "--provides")


def test_it_does_nothing_when_installed(package):
    assert rpm_package.query(package, "--scripts", "--triggers") == []


def test_files_and_their_modes(package):
    """Root's; others read and enter. The plugin may be run so that rpm sees what it is."""
    for line in rpm_package.query(package, "-lv"):
        if "/.build-id/" in line:  # rpm's own links
            continue
        mode, _, owner, group, *_, path = line.split()
        directory = mode.startswith("d")
        expected = "drwxr-xr-x" if directory else "-rwxr-xr-x" if path in _CODE else "-rw-r--r--"
        assert (mode, owner, group) == (expected, "root", "root"), line


def _findings(package, kinds="E"):
    said = run(["sh", "-c", 'rpmlint "$0" || true', package])
    assert "1 packages and 0 specfiles checked" in said
    return set(re.findall(rf"^\S+: [{kinds}]: (\S+)", said, re.M))


def test_rpmlint_finds_what_the_page_says(package):
    """internals/packages.md has every error and warning that stays, with the reason."""
    assert _findings(package) == {"no-signature", "dir-or-file-in-opt"}
    page = (Path(__file__).resolve().parents[2] / "docs" / "internals" / "packages.md").read_text()
    table = re.search(r"^\| rpmlint \| why \|\n((?:\|.*\n)+)", page, re.M)[1]
    named = re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M)))
    assert _findings(package, "EW") == set(named)


def test_a_directory_and_flags_of_a_distribution(workdir):
    """plugindir is obeyed, and a distribution's flags are taken with its own hardening."""
    other = rpm_package.build(workdir / "rpm", plugindir="/usr/lib64/bacula", build_ldflags=_FLAGS,
                              optflags="-O1 -g -fstack-protector-strong")
    files = rpm_package.query(other, "-l")
    assert _findings(other) == {"no-signature"}
    assert {"/usr/lib64/bacula/qemu-fd.so", "/usr/lib64/bacula/qemu-fd-helper"} < set(files)
    assert not any("/opt/" in path for path in files)
    run(["sh", "-c", 'rpm2cpio "$0" | cpio -idm --quiet', other], cwd=workdir)
    plugin = workdir / "usr/lib64/bacula/qemu-fd.so"
    assert exported(plugin) == {"loadPlugin", "unloadPlugin"}
    assert "BIND_NOW" in run(["readelf", "-d", plugin])
