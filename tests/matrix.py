"""Run the main cases on every QEMU with every Bacula, and write down what came of it.

Without arguments all rows are run, and the tables in docs/internals/versions.md are made
anew.  With some rows (5.2, 7.2, 10.0, newest, old, interfaces) or one case the
tables are printed only.  Both leave build/matrix.md and build/matrix.json.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from run import in_parallel

_TOP = Path(__file__).resolve().parents[1]
_BUILD = _TOP / "build"
_QEMUS = _BUILD / "qemu"
_DOCUMENT = _TOP / "docs" / "internals" / "versions.md"
_MARKERS = ("<!-- made by make check-matrix -->\n", "<!-- end -->\n")

_REAL = ("5.2", "7.2", "10.0", "newest")
_BEHIND = "7.2"  # the real QEMU behind scripted peers
_BACULAS = ("9.6.7", "15.0.3")
_OLD = ("3.1", "4.0", "4.1")
_BACULA_BEFORE = "15.0.3"  # that the scripted peers are tried with
_INTERFACES = {"21": "Bacula 11", "22": "Bacula 13"}

# case -> its tests, for real QEMUs and for scripted peers ("" for none of their own)
_CASES = {
    "chain": ("test_chain.py", "chain_on_old_qemu or pile_up"),
    "cancelled or killed": ("test_faults.py", "leaves_no_gap"),
    "restart": ("test_restart.py", "restarted_guest_of_old or persistent_bitmaps_of_old"),
    "restore": ("test_restore.py", "restore_of_old_qemu"),
    "convdestination": ("test_convdestination.py", "convdestination_of_old"),
    "kinds of disks": ("test_disks.py", ""),
}


def _chosen(test, words):
    """Whether a test's name holds one of the words of an expression like pytest's."""
    return any(word and word in test for word in words.split(" or "))


def _case_of(file, test):
    if file == "test_old_qemu":
        return next((case for case, (_, words) in _CASES.items() if _chosen(test, words)), None)
    return next((case for case, (own, _) in _CASES.items() if own == f"{file}.py"), None)


def _run_pytest(name, arguments, label=None):
    """Run integration tests on the QEMU of that name; the elements of their report."""
    report = _BUILD / f"matrix-{label or name}.xml"
    report.unlink(missing_ok=True)
    folder = _TOP / "tests" / "integration"
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-q",
               f"--junitxml={report}", *in_parallel(), *arguments]
    environment = dict(os.environ, QEMU_FD_QEMU=str(_QEMUS / name))
    subprocess.run(command, cwd=folder, env=environment, check=False)
    return list(ElementTree.parse(report).iter("testcase")) if report.exists() else []


def _outcome(element):
    for tag, word in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if element.find(tag) is not None:
            return word
    return "passed"


def _count(cell, column, element):
    """Count one test in a cell: {column: {outcome: number}}."""
    counts = cell.setdefault(column, {})
    outcome = _outcome(element)
    counts[outcome] = counts.get(outcome, 0) + 1
    if outcome == "failed":
        counts.setdefault("names", []).append(element.get("name"))


def _parameter(element, known):
    """Which of the known values stands among a test's parameters."""
    parameters = element.get("name").partition("[")[2].rstrip("]").split("-")
    return next((value for value in known if value in parameters), None)


def _properties(elements):
    return {item.get("name"): item.get("value") for element in elements
            for item in element.iter("property")}


def _run_real(name, case):
    """One row: {"title", "qemu-img", "cells"}."""
    chosen = [known for known in _CASES if case in (None, known)]
    files = [_CASES[known][0] for known in chosen]
    elements = _run_pytest(name, ["test_harness.py::test_chosen_qemu", *files])
    seen = _properties(elements)
    # Empty ones count as failed: what was not run did not pass.
    cells = {known: {version: {} for version in _BACULAS} for known in chosen}
    for element in elements:
        found = _case_of(element.get("classname"), element.get("name"))
        if found:
            _count(cells[found], _parameter(element, _BACULAS) or "all", element)
    # A row that ran on another QEMU than it says is no row.
    if not {"qemu", "qemu-img"} <= set(seen):
        cells = {known: {"all": {"failed": 1}} for known in chosen}
    return {"title": f"QEMU {seen.get('qemu', '?')}", "image": seen.get("qemu-img", "?"),
            "cells": cells}


def _run_old(case):
    """The rows of QEMUs that cannot be had, played by tests/fakes/old_qemu.py."""
    wanted = {known: words for known, (_, words) in _CASES.items()
              if words and case in (None, known)}
    words = " or ".join(wanted.values())
    chosen = "test_harness.py::test_chosen_qemu"
    elements = _run_pytest(_BEHIND, [chosen, "test_old_qemu.py", "-k", f"chosen_qemu or {words}"],
                           "old")
    image = _properties(elements).get("qemu-img", "?")
    rows = {version: {"title": f"QEMU {version}, scripted peer", "image": image,
                      "cells": {known: {_BACULA_BEFORE: {}} for known in wanted}}
            for version in _OLD}
    for element in elements:
        found = _case_of(element.get("classname"), element.get("name"))
        version = _parameter(element, _OLD)
        if found and version:
            cell = rows[version]["cells"][found]
            _count(cell, _parameter(element, _BACULAS) or "all", element)
    return rows


def _run_interfaces():
    elements = _run_pytest(_BEHIND, ["test_interfaces.py", "-k", "21 or 22"], "interfaces")
    rows = {number: {bacula: {}} for number, bacula in _INTERFACES.items()}
    for element in elements:
        if interface := _parameter(element, _INTERFACES):
            _count(rows[interface], _INTERFACES[interface], element)
    return rows


def _text(cell):
    """passed: 4 (9.6.7), 5 (15.0.3)"""
    if not cell:
        return "–"
    parts = []
    for column in sorted(cell, key=("all", *_BACULAS, *_INTERFACES.values()).index):
        counts = cell[column]
        total = sum(counts.get(outcome, 0) for outcome in ("passed", "failed"))
        failed = f"{counts['failed']} of " if "failed" in counts else ""
        skipped = f", {counts['skipped']} skipped" if "skipped" in counts else ""
        versions = f" ({column}{skipped})" if column != "all" else f" (either{skipped})"
        parts.append(f"{failed}{total}{versions}")
    return f"{'**failed**' if _failed(cell) else 'passed'}: {', '.join(parts)}"


def _failed(cell):
    return any("failed" in counts or not counts.get("passed") for counts in cell.values())


def _line(cells):
    return f"| {' | '.join(cells)} |\n"


def _tables(rows, interfaces, facts):
    cases = [case for case in _CASES if any(case in row["cells"] for row in rows)]
    text = f"{facts}\n\n"
    if rows:
        text += _line(["guest's QEMU", "plugin's qemu-img", *cases])
        text += _line(["---"] * (2 + len(cases)))
        for row in rows:
            cells = [_text(row["cells"].get(case)) for case in cases]
            text += _line([row["title"], row["image"], *cells])
    if interfaces:
        text += "\n" + _line(["Bacula's plugin interface", "all kinds of jobs"])
        text += _line(["---", "---"])
        for number, cell in interfaces.items():
            text += _line([f"{number} ({_INTERFACES[number]}), scripted peer", _text(cell)])
    return text


def _facts(seconds):
    """When, where and how long."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return (f"{datetime.date.today()}, {system}, Linux {platform.release()}, "
            f"{os.cpu_count()} processors, {seconds / 60:.0f} minutes.")


def _update_document(tables):
    begin, end = _MARKERS
    text = _DOCUMENT.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    _DOCUMENT.write_text(f"{before}{begin}\n{tables}\n{end}{after}")


def _list(value):
    return re.split(r"[,\s]+", value.strip()) if value.strip() else []


def _arguments():
    known = (*_REAL, "old", "interfaces")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=_list, default=[], help=f"some of {', '.join(known)}")
    parser.add_argument("--case", help=f"one of {', '.join(_CASES)}")
    options = parser.parse_args()
    if set(options.rows) - set(known):
        parser.error(f"rows are {', '.join(known)}")
    options.case = options.case or None
    if options.case not in (None, *_CASES):
        parser.error(f"cases are {', '.join(_CASES)}")
    options.complete = not options.rows and not options.case
    options.rows = options.rows or known
    return options


def main():
    options = _arguments()
    wanted = [name for name in _REAL if name in options.rows]
    needed = {*wanted, *([_BEHIND] if {"old", "interfaces"} & set(options.rows) else [])}
    subprocess.run([_TOP / "tools" / "fetch-qemu", _QEMUS, *needed], check=True)

    begun = time.monotonic()
    rows = {name: _run_real(name, options.case) for name in wanted}
    if "old" in options.rows:
        rows |= _run_old(options.case)
    interfaces = _run_interfaces() if "interfaces" in options.rows and not options.case else {}
    facts = _facts(time.monotonic() - begun)

    tables = _tables(list(rows.values()), interfaces, facts)
    (_BUILD / "matrix.md").write_text(tables)
    found = {"facts": facts, "rows": rows, "interfaces": interfaces}
    (_BUILD / "matrix.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if options.complete:
        _update_document(tables)
    print(tables)
    cells = [cell for row in rows.values() for cell in row["cells"].values()]
    cells += interfaces.values()
    sys.exit(1 if not cells or any(map(_failed, cells)) else 0)


if __name__ == "__main__":
    main()
