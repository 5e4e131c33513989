"""A real thin pool: what a restore's own command takes of it, and what the plugin knows of it."""

import re
import shlex
from pathlib import Path

import pytest
from harness import other_kernel
from harness.disk import MIB
from harness.marks import one_version
from harness.process import run
from harness.pve_guest import Volume
from harness.pve_world import pve_world

_TOP = Path(__file__).resolve().parents[2]
_HELD = 32  # MiB of data in an image of 1 GiB
_MAIN = """
#include <stdio.h>
#include <sys/stat.h>
#include "base/thin.h"
int main(int count, char **arguments)
{
    struct stat status;
    if (count == 3)
        return thin_pool_is_stale(thin_pool_device(arguments[1], arguments[2]));
    return count != 2 || stat(arguments[1], &status) != 0 ? 2 : !thin_is_zeroed(status.st_rdev);
}
"""
# pool NAME FEATURES; volume NAME POOL MIB: /dev/mapper/NAME
_GUEST = """
set -e
cd /tmp
pool() {{
    truncate -s 8M $1.meta; truncate -s 1536M $1.data
    dmsetup create $1 --noudevsync --table "0 $((1536 * 2048)) thin-pool $(losetup -f --show $1.meta)\
 $(losetup -f --show $1.data) 128 0 $2"
}}
volume() {{
    dmsetup message $2 0 "create_thin $4"
    dmsetup create $1 --noudevsync --table "0 $(($3 * 2048)) thin /dev/mapper/$2 $4"
    dmsetup mknodes
}}
mapped() {{ sync; echo "$1 maps $(dmsetup status $1 | cut -d ' ' -f 4)"; }}
keeps() {{ if {zeroed} my-pve $1; then echo "pool $1 is clean"; else echo "pool $1 is stale"; fi; }}
zeroed() {{ if {zeroed} /dev/mapper/$1; then echo "$1 is zeroed"; else echo "$1 is not zeroed"; fi; }}

good=my--pve-good-tpool careless=my--pve-careless-tpool
pool $good 0; pool $careless "1 skip_block_zeroing"; dmsetup mknodes
volume thin $good 1024 0; volume full $good 64 1; volume stale $careless 64 0
keeps good; keeps careless; keeps nosuch
zeroed thin; zeroed stale
mapped thin
qemu-img {command}
mapped thin
qemu-img compare -q -f qcow2 -F raw {image} /dev/mapper/thin && echo "the same"
qemu-img {without}
mapped full
"""


@pytest.fixture
def command(bacula_root, plugin, workdir):
    """qemu-img's arguments in a restore to a storage of thin volumes."""
    disks = {"scsi0": Volume(size=4 * MIB)}
    with pve_world(bacula_root, plugin, workdir, "7.2", disks=disks) as world:
        world.reset()
        result = world.restore(plugin_options={"storage": "local-lvm"})
        assert result.ok, result.log
        (arguments,) = world.gate.commands()
        return arguments


def _image(path, size, pieces):
    """A qcow2 of so many MiB with a MiB of data in so many places; and zeroes that were written."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{size}M"])
    step = size // pieces
    for piece in range(pieces):
        run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {piece + 1} {piece * step}M 1M",
             "-c", f"write -q -P 0 {piece * step + 1}M 256k", path])
    return path


def _probe(folder):
    """A program that asks the plugin's own code."""
    (folder / "probe.c").write_text(_MAIN)
    run(["cc", "-std=c17", "-D_GNU_SOURCE", f"-I{_TOP}/src", "-o", folder / "probe",
         folder / "probe.c", _TOP / "src" / "base" / "thin.c"])
    return folder / "probe"


@one_version
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(other_kernel.missing()), reason=str(other_kernel.missing()))
def test_a_thin_pool(command, workdir):
    """An image of 1 GiB that holds 32 MiB takes 32 MiB; without the option a volume takes all."""
    folder = workdir / "guest"
    folder.mkdir()
    image, small = _image(folder / "big", 1024, _HELD), _image(folder / "small", 64, 8)
    assert "--target-is-zero" in command
    there = [*command[:-2], image, "/dev/mapper/thin"]
    without = [item for item in [*command[:-2], small, "/dev/mapper/full"]
               if item != "--target-is-zero"]
    said = other_kernel.run_under(folder, _GUEST.format(
        zeroed=_probe(folder), image=image, command=shlex.join(map(str, there)),
        without=shlex.join(map(str, without))))
    sectors = [int(count) for count in re.findall(r"^thin maps (\d+)$", said, re.M)]
    assert sectors == [0, _HELD * 2048], said
    assert f"full maps {64 * 2048}" in said
    assert "thin is zeroed" in said and "stale is not zeroed" in said
    assert "pool good is clean" in said and "pool careless is stale" in said and "pool nosuch is clean" in said
    assert "the same" in said
