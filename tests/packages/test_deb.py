"""The .deb of each Debian: how it is built, what is in it, what it asks for, what lintian says of it."""

import re

from debian_package import PACKAGE, file_name, files
from harness.process import run
from source import NAME

_DOCUMENTS = f"/usr/share/doc/{PACKAGE}"
_HELPER = "/usr/lib/bacula/qemu-fd-helper"
_FILES = {
    "/usr/lib/bacula/qemu-fd.so",
    _HELPER,
    "/usr/share/man/man5/qemu-fd.5.gz",
    *(f"{_DOCUMENTS}/{name}" for name in (
        "README.md", "SECURITY.md", "CHANGELOG.md", "changelog.gz", "copyright",
        "docs/install.md", "docs/parameters.md", "examples/qemu.conf", "examples/proxmox.conf",
    )),
}
_ENTRY = r"^(\S{10}) (\S+) +\d+ \S+ \S+ \.(/.*)$"
_LIBRARIES = {
    "12": {"libc6", "libcurl4", "libjansson4", "libnbd0", "libpcre2-8-0", "libssl3"},
    "13": {"libc6", "libcurl4t64", "libjansson4", "libnbd0", "libpcre2-8-0", "libssl3t64"},
}


def _entries(deb):
    return re.findall(_ENTRY, run(["dpkg-deb", "-c", deb]), re.M)


def test_two_builds_are_the_same(builds, release):
    """Of another place, time, time zone, language, umask and number of processes."""
    first, second = (files(folder, release) for folder in builds)
    for name, package in first.items():
        assert package.read_bytes() == second[name].read_bytes(), name


def test_the_compiler_minds_nothing(builds, builder):
    """With Debian's flags, and with our own, where a warning is an error; the tests' sources too."""
    assert re.findall(r"^\S+:\d+:.*warning: .*", (builds[0] / "build.log").read_text(), re.M) == []
    builder.apt("install", "libcmocka-dev", "libxxhash-dev", "liblzo2-dev", "libzstd-dev", "zlib1g-dev")
    builder.run("make", "-C", f"/build/{NAME}", "-j2", "WERROR=-Werror", "BUILD=build/strict", "objects")
    assert builder.path(f"/build/{NAME}/build/strict/qemu-fd.so").exists()


def test_lintian_minds_nothing(builds, builder, release):
    """That of the same Debian: no error, no warning, no pedantry; --fail-on alone would pass over the last."""
    builder.apt("install", "lintian")
    changes = "/build/" + file_name(release).replace(".deb", ".changes")
    assert (builds[0] / changes.rpartition("/")[2]).exists()
    said = builder.run("lintian", "--allow-root", "--pedantic", "--fail-on", "error,warning", changes)
    assert re.findall(r"^[EWP]: .*", said, re.M) == []


def test_files_and_their_modes(deb):
    """Root's, writable by root only, no program among them but the plugin's own."""
    entries = _entries(deb)
    assert _FILES <= {path for _, _, path in entries}
    for mode, owner, path in entries:
        expected = "drwxr-xr-x" if path.endswith("/") else "-rwxr-xr-x" if path == _HELPER else "-rw-r--r--"
        assert (mode, owner) == (expected, "root/root"), path
    places = [path for _, _, path in entries if not path.endswith("/")]
    assert [path for path in places if path not in _FILES and not path.startswith(_DOCUMENTS)] == []


def test_what_it_depends_on(deb, release):
    """The daemon, qemu-img of Debian or of Proxmox, and this Debian's libraries."""
    depends = run(["dpkg-deb", "-f", deb, "Depends"]).strip().split(", ")
    assert {"bacula-fd (>= 9.6)", "qemu-utils | pve-qemu-kvm"} < set(depends)
    assert {name.split()[0] for name in depends if name.startswith("lib")} == _LIBRARIES[release]


def test_that_of_the_newer_debian_is_newer(deb, release):
    """So that it takes the other's place when the host has been upgraded."""
    version = run(["dpkg-deb", "-f", deb, "Version"]).strip()
    assert run(["dpkg-deb", "-f", deb, "Package"]).strip() == PACKAGE
    for other in _LIBRARIES:
        later = version.replace(f"deb{release}", f"deb{other}")
        run(["dpkg", "--compare-versions", later, "gt" if other > release else "le", version])


def test_it_does_nothing_when_installed(deb, workdir):
    """No script that could restart a daemon at work."""
    run(["dpkg-deb", "-e", deb, workdir])
    assert {path.name for path in workdir.iterdir()} == {"control", "md5sums"}
