"""The .deb: what is in it, what it asks for, what lintian says of it."""

import re

from debian_package import PACKAGE
from harness.process import run

_DOCUMENTS = f"/usr/share/doc/{PACKAGE}"
_FILES = {
    "/usr/lib/bacula/qemu-fd.so",
    "/usr/lib/bacula/qemu-fd-helper",
    "/usr/share/man/man5/qemu-fd.5.gz",
    *(f"{_DOCUMENTS}/{name}" for name in (
        "README.md", "SECURITY.md", "CHANGELOG.md", "changelog.gz", "copyright",
        "docs/install.md", "docs/parameters.md", "examples/qemu.conf", "examples/proxmox.conf",
    )),
}
_ENTRY = r"^(\S{10}) (\S+) +\d+ \S+ \S+ \.(/.*)$"


def _entries(deb):
    return re.findall(_ENTRY, run(["dpkg-deb", "-c", deb]), re.M)


def test_two_builds_are_the_same(debs):
    """Of another place, time, time zone, language, umask and number of processes."""
    first, second = debs
    for name, package in first.items():
        assert package.read_bytes() == second[name].read_bytes(), name


def test_lintian_minds_nothing(deb):
    """No error, no warning, no pedantry; --fail-on alone would pass over the last."""
    changes = deb.with_suffix(".changes")
    said = run(["lintian", "--allow-root", "--pedantic", "--fail-on", "error,warning", changes])
    assert re.findall(r"^[EWP]: .*", said, re.M) == []


def test_files_and_their_modes(deb):
    """Root's, writable by root only, no program among them."""
    entries = _entries(deb)
    assert _FILES <= {path for _, _, path in entries}
    for mode, owner, path in entries:
        expected = "drwxr-xr-x" if path.endswith("/") else "-rw-r--r--"
        assert (mode, owner) == (expected, "root/root"), path
    places = [path for _, _, path in entries if not path.endswith("/")]
    assert [path for path in places if path not in _FILES and not path.startswith(_DOCUMENTS)] == []


def test_what_it_depends_on(deb):
    """The daemon, qemu-img, and nothing of a version that Proxmox' QEMU could not stand in for."""
    depends = run(["dpkg-deb", "-f", deb, "Depends"]).strip().split(", ")
    assert {"bacula-fd (>= 9.6)", "qemu-utils"} < set(depends)
    libraries = [name.split()[0] for name in depends if name.startswith("lib")]
    assert libraries == ["libc6", "libcurl4", "libjansson4", "libpcre2-8-0", "libssl3"]


def test_it_does_nothing_when_installed(deb, workdir):
    """No script that could restart a daemon at work."""
    run(["dpkg-deb", "-e", deb, workdir])
    assert {path.name for path in workdir.iterdir()} == {"control", "md5sums"}
