"""How a job ended, and whether it was to end so."""

import os
import re
from dataclasses import replace

import pytest

from . import cells, daemons
from .stage import own_errors

_STATUS = {cells.GOOD: "T", cells.WARNS: "T", cells.ERRORS: "E", cells.FAILS: "f"}

# Set by "make check-faults"; otherwise each fault strikes where it is hardest only.
ALL = bool(os.environ.get("QEMU_FD_ALL_FAULTS"))


def table(chosen, hardest, version):
    """Parameters (cell, version) of a test for these cells.

    Unless all are wanted each fault comes once, at its first moment in hardest, and what
    runs on every version on one.
    """
    yield from few(chosen, _hardest(chosen, hardest), version)


def few(chosen, some, version):
    """The same, where some stand for all unless all are wanted."""
    for cell in chosen if ALL else some:
        versions = cell.versions if ALL or version not in cell.versions else (version,)
        for each in versions:
            marks = pytest.mark.long if getattr(cell, "long", False) else ()
            yield pytest.param(cell, each, id=f"{cell.id}, {each}", marks=marks)


def werror(of, cell, version):
    """What the guest's disks do when a write fails: in half of the cells' runs they tell the guest."""
    report = (of.index(cell) + cells.BOTH.index(version)) % 2
    return "report" if report else ""


def _hardest(chosen, order):
    best = {}
    for cell in sorted(chosen, key=lambda cell: order.index(cell.moment)):
        best.setdefault(cell.fault.name, cell)
    return best.values()


def _without_bitmaps(cell, errors, disks):
    """The same cell where these disks get no bitmap, so that none can stay in QEMU.

    The job then fails only when a dump is not known to have ended in time.
    """
    def lost(pattern):
        return pattern.endswith(cells.STAYS) and any(f'disk "{disk}": ' in pattern for disk in disks)

    if not any(map(lost, cell.says)):
        return cell
    says = tuple(pattern.removesuffix(cells.STAYS) if lost(pattern) else pattern for pattern in cell.says)
    late = any("is not known: the monitor" in line for line in errors)
    return replace(cell, says=says, ends=cells.FAILS if late else cells.WARNS)


def _of_any_parts(cell, errors):
    """The same cell where the guest's configuration had come before the fault, so that it has no line.

    And where the File Daemon lost no file, as the last of them had come, but we all disks.
    """
    nothing = "^no disk was restored"
    if cell.ends != cells.ERRORS:
        return cell
    says = [pattern for pattern in cell.says
            if ', disk "' in pattern or any(re.search(pattern, line) for line in errors)]
    if any(re.search(nothing, line) for line in errors):
        return replace(cell, ends=cells.FAILS, says=(*says, nothing))
    return replace(cell, says=tuple(says))


def assert_end(cell, result, version, without_bitmaps=(), any_parts=False):
    """Its status, and one line of ours for everything that was lost, or Bacula's own lines.

    any_parts: what a restore brings is not the table's two disks of two parts each.
    """
    errors = own_errors(result.log)
    cell = _without_bitmaps(cell, errors, without_bitmaps)
    if any_parts:
        cell = _of_any_parts(cell, errors)
    if cell.ends in (cells.LOST, cells.CANCELLED):
        daemons.end_of(cell, version).check(result, errors)
        return
    assert result.status == _STATUS[cell.ends], (result.status, result.log)
    assert result.ok == (cell.ends == cells.GOOD), result.log
    for pattern in cell.daemons:
        assert re.search(pattern, result.log, re.M), (pattern, result.log)
    assert len(errors) == len(cell.says), errors
    for pattern in cell.says:
        assert any(re.search(pattern, line) for line in errors), (pattern, errors)
