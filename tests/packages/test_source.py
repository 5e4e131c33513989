"""The tarball: what is in it, that it builds with no network, that a build holds nothing of its place."""

import re
import tarfile

from harness.process import run
from source import BUILD, NAME, TARBALL, TOP, VERSION, environment, exported, unpack

# Fails when anything but the loopback interface is there.
_ALONE = "test \"$(sed '1,2d; s/:.*//; s/ //g' /proc/net/dev)\" = lo && exec \"$0\" \"$@\""
_INTERFACE = {"loadPlugin", "unloadPlugin"}


def test_what_is_in_it():
    with tarfile.open(TARBALL) as archive:
        names = archive.getnames()
        spec = archive.extractfile(f"{NAME}/rpm/bacula-qemu-fd-plugin.spec").read().decode()
    assert all(name == NAME or name.startswith(f"{NAME}/") for name in names)
    assert {f"{NAME}/{name}" for name in ("Makefile", "VERSION", "LICENSE", "bootstrap")} < set(names)
    assert not [name for name in names if re.search(r"/(build|\.git)(/|$)", name)]
    assert re.search(rf"^Version: +{re.escape(VERSION)}$", spec, re.M) and "@VERSION@" not in spec


def test_it_is_made_the_same_twice():
    first = TARBALL.read_bytes()
    run(["make", "-C", TOP, "dist"], env=environment())
    assert TARBALL.read_bytes() == first


def test_it_builds_without_a_network(workdir):
    """Twice, at different places: with the same outcome, and the interface and nothing else."""
    plugins = []
    for place in (workdir / "here", workdir / "at" / "another" / "place"):
        sources = unpack(place)
        run(["unshare", "--net", "sh", "-c", _ALONE, "make", "-j2", "all", "man"],
            cwd=sources, env=environment())
        assert (sources / "build/qemu-fd.5").stat().st_size
        plugins.append(sources / "build/qemu-fd.so")
    assert exported(plugins[0]) == _INTERFACE == exported(BUILD / "qemu-fd.so")
    assert plugins[0].read_bytes() == plugins[1].read_bytes()
