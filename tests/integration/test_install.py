"""make install, make uninstall, and the one place that says the version."""

import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from harness.process import Failure, run

_TOP = Path(__file__).resolve().parents[2]
_OWN = {
    "PLUGINDIR": "/opt/bacula/plugins",
    "MANDIR": "/opt/bacula/man",
    "DOCDIR": "/opt/bacula/qemu-fd documents",
}


def _make(target, **variables):
    """Run make, without what a make around us would pass on."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    assignments = [f"{name}={value}" for name, value in variables.items()]
    return run(["make", "-C", _TOP, target, *assignments], env=environment)


def _files(folder):
    return {"/" + str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "variables, plugin, page, documents",
    [
        ({}, "/usr/lib/bacula", "/usr/share/man/man5", "/usr/share/doc/qemu-fd"),
        ({"PREFIX": "/usr/local"}, "/usr/local/lib/bacula", "/usr/local/share/man/man5",
         "/usr/local/share/doc/qemu-fd"),
        (_OWN, _OWN["PLUGINDIR"], _OWN["MANDIR"] + "/man5", _OWN["DOCDIR"]),
    ],
    ids=["default", "prefix", "own"],
)
def test_install_and_uninstall(workdir, variables, plugin, page, documents):
    """Files where they were asked for, that everybody can read; then none of them."""
    root = workdir / "root"
    _make("install", DESTDIR=root, **variables)
    installed = _files(root)
    assert {f"{plugin}/qemu-fd.so", f"{plugin}/qemu-fd-helper", f"{page}/qemu-fd.5"} < installed
    texts = {name for name in installed if name.startswith(documents + "/")}
    assert installed - texts == {f"{plugin}/qemu-fd.so", f"{plugin}/qemu-fd-helper", f"{page}/qemu-fd.5"}
    assert {f"{documents}/{name}" for name in ("README.md", "docs/install.md", "examples/qemu.conf")} < texts
    for name in installed:
        expected = 0o755 if name.startswith(plugin) else 0o644
        assert stat.S_IMODE((root / name[1:]).stat().st_mode) == expected, name

    foreign = {f"{plugin}/bpipe-fd.so", f"{documents}/docs/notes", f"{page}/other.5"}
    for name in foreign:
        (root / name[1:]).touch()
    _make("uninstall", DESTDIR=root, **variables)
    assert _files(root) == foreign
    (root / documents[1:] / "docs/notes").unlink()
    _make("uninstall", DESTDIR=root, **variables)
    assert not (root / documents[1:]).exists()


def test_documents_link_to_what_is_installed(workdir):
    """No link of an installed document leads nowhere."""
    _make("install", DESTDIR=workdir)
    folder = workdir / "usr/share/doc/qemu-fd"
    links = 0
    for document in folder.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
            links += 1
    assert links > 10


def _copy_for_check(folder):
    for name in ("VERSION", "README.md", "SECURITY.md", "CHANGELOG.md", "Makefile"):
        shutil.copy(_TOP / name, folder)
    for name in ("debian", "docs", "examples", "rpm", "tools"):
        shutil.copytree(_TOP / name, folder / name)
    return folder / "tools/check-version"


def test_one_place_says_the_version(workdir):
    """tools/check-version is content with the repository, and with no other version in it."""
    check = _copy_for_check(workdir)
    run([check])
    (workdir / "VERSION").write_text("99.1.2\n")
    with pytest.raises(Failure) as refused:
        run([check])
    assert "debian/changelog" in str(refused.value) and "CHANGELOG.md" in str(refused.value)


@pytest.mark.parametrize(
    "name, says",
    [
        ("docs/install.md", "repeat the version"),
        ("examples/qemu.conf", "repeat the version"),
        ("Makefile", "repeat the version"),
    ],
)
def test_nobody_repeats_the_version(workdir, name, says):
    check = _copy_for_check(workdir)
    version = (workdir / "VERSION").read_text().strip()
    with (workdir / name).open("a") as text:
        text.write(f"# qemu-fd_{version}_amd64\n")
    with pytest.raises(Failure, match=says):
        run([check])


def test_the_spec_has_no_version_of_its_own(workdir):
    check = _copy_for_check(workdir)
    spec = workdir / "rpm/bacula-qemu-fd-plugin.spec.in"
    spec.write_text(spec.read_text().replace("@VERSION@", "1.0"))
    with pytest.raises(Failure, match="is not @VERSION@"):
        run([check])
