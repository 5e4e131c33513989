"""Every fault that may strike a backup that streams, at every moment of a stream.

The table is fault_cases/stream_cells.py; what each cell came to is noted for docs/internals/faults.md.
"""

import pytest
from fault_cases.backup_strike import strike_backup
from fault_cases.judge import few, werror
from fault_cases.stream_cells import FEW, STREAM
from fault_cases.stream_moments import GATED, HELD_BY_PLUGIN
from fault_cases.stream_scene import StreamScene, qemu_for


@pytest.fixture
def scene(cell, stages, version, workdir):
    options = {"gated": cell.moment in GATED, **cell.fault.options}
    options["werror"] = werror(STREAM, cell, version)
    preloaded = options.pop("clock", False)
    if options.get("other"):
        options["other"] = stages(version, True)
    with StreamScene(stages(version, preloaded), workdir, qemu_for(version), **options) as made:
        made.held_by_plugin = cell.moment in HELD_BY_PLUGIN
        yield made


@pytest.mark.parametrize(("cell", "version"), few(STREAM, FEW, "15.0.3"))
def test_fault_in_stream(cell, version, scene, note_cell):
    """The job ends as the table says, nothing is left, the guest and the next job are well."""
    strike_backup("stream", cell, version, scene, note_cell)
