"""Every fault that may strike a backup, at every moment where it matters.

The table is fault_cases/cells.py; what each cell came to is noted for docs/internals/faults.md.
"""

import pytest
from fault_cases import cells
from fault_cases.backup_strike import strike_backup
from fault_cases.judge import table, werror
from fault_cases.moments import HELD_BY_PLUGIN
from fault_cases.scene import Scene
from harness.disk import loop_devices_work


@pytest.fixture
def scene(cell, stages, version, workdir):
    options = dict(cell.fault.options)
    options["werror"] = werror(cells.BACKUP, cell, version)
    if not options.get("reservable", True) and not loop_devices_work(workdir):
        pytest.skip("this machine lets us make no loop devices")
    preloaded = options.pop("clock", False) or options.get("breakable") == "daemon"
    if options.get("other"):
        options["other"] = stages(version, not preloaded)
    with Scene(stages(version, preloaded), workdir, **options) as made:
        made.held_by_plugin = cell.moment in HELD_BY_PLUGIN
        yield made


@pytest.mark.parametrize(("cell", "version"), table(cells.BACKUP, cells.HARDEST, "15.0.3"))
def test_fault(cell, version, scene, note_cell):
    """The job ends as the table says, nothing is left, the guest and the next job are well."""
    strike_backup("backup", cell, version, scene, note_cell)
