"""A program for a guest that writes for ever and says so, without any system in the guest."""

import os
from pathlib import Path

from .process import run

CLUSTER = 64 * 1024
PATTERN = 0x57  # of every byte that it writes
_PROGRAM = Path(__file__).with_name("writer.S")
_FLOPPY = 1440 * 1024


def boot_disk(folder, offset, length, drive=0, hertz=0):
    """A floppy with a boot sector that writes to whole clusters of a part of a disk.

    drive is the disk's number, hertz how many writes a second there are at most (0: as many
    as go).
    """
    values = {"DRIVE": 0x80 + drive, "FIRST": offset // CLUSTER, "CLUSTERS": length // CLUSTER,
              "HERTZ": hertz}
    symbols = [word for name, value in values.items() for word in ("--defsym", f"{name}={value}")]
    program, floppy = folder / "writer.o", folder / "writer.img"
    run(["as", "--32", *symbols, "-o", program, _PROGRAM])
    run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", floppy, program])
    os.truncate(floppy, _FLOPPY)
    return floppy


def options(floppy, channel):
    """QEMU's options to boot it; channel is a chardev's backend that hears of its writes.

    It gets a full stop for each write, and an exclamation mark for each that failed.
    """
    return [
        "-drive", f"if=floppy,format=raw,readonly=on,file={floppy}",
        "-boot", "order=a",
        "-chardev", f"{channel},id=writes",
        "-device", "isa-debugcon,iobase=0xe9,chardev=writes",
    ]  # fmt: skip
