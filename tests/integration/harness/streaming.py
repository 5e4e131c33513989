"""QEMUs that can stream, as tools/fetch-qemu brings them."""

from pathlib import Path

import pytest

VERSIONS = ("10.0", "newest")
_QEMUS = Path(__file__).resolve().parents[3] / "build" / "qemu"


def find_qemu(name):
    """The program of this name in build/qemu, or None."""
    program = _QEMUS / name / "usr" / "bin" / "qemu-system-x86_64"
    return str(program) if program.exists() else None


def need_qemu(name):
    """The same; a skip where there is none."""
    program = find_qemu(name)
    if not program:
        pytest.skip(f"no QEMU {name} here, which can stream (tools/fetch-qemu build/qemu)")
    return program
