"""docs/internals/faults.md shows every cell that the tables have, and no cell that failed."""

import re
from pathlib import Path

import pytest
from fault_cases import whole_table

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "internals" / "faults.md"
_CELL = re.compile(r"[\w/]+, \d+ s ✓(?: \((?P<versions>[\d., ]+)\))?")


def _tables():
    """{"backup": rows of cells, the heading first}."""
    found = {}
    for section in re.split(r"^## ", _PAGE.read_text(), flags=re.M)[1:]:
        rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
        found[section.split()[0].lower()] = [[text.strip() for text in row] for row in rows]
    return found


def _shown(table, rows):
    """The runs that a table shows; every other cell of it gives a reason."""
    everywhere = {run[3] for run in whole_table.runs() if run[0] == table}
    (_, *columns), *rows = rows
    assert columns == [whole_table.SHORT.get(name, name) for name in whole_table.COLUMNS[table]]
    for fault, *texts in rows:
        assert len(texts) == len(columns), fault
        for moment, text in zip(whole_table.COLUMNS[table], texts):
            if match := _CELL.fullmatch(text):
                for version in match["versions"].split(", ") if match["versions"] else everywhere:
                    yield table, fault, moment, version
            else:
                assert re.fullmatch("– [a-z]", text), f"{fault}, {moment}: {text or 'nothing'}"


def test_page_shows_every_cell():
    """"make check-faults" wrote it after the last change of the tables, and all was well."""
    tables = _tables()
    assert set(tables) == set(whole_table.COLUMNS)
    shown = [run for table in tables for run in _shown(table, tables[table])]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(whole_table.runs())


@pytest.mark.parametrize("table", whole_table.COLUMNS)
def test_every_blank_has_a_reason(table):
    """And every reason is that of a blank."""
    there = {run[1:3] for run in whole_table.runs() if run[0] == table}
    faults = {fault for fault, _ in there}
    blanks = {(fault, moment) for fault in faults for moment in whole_table.COLUMNS[table]} - there
    reasons = {blank: whole_table.reason(table, *blank) for blank in blanks}
    assert [blank for blank, why in reasons.items() if not why] == []
    assert {why for _, _, why in whole_table.BLANKS[table]} == set(reasons.values())
