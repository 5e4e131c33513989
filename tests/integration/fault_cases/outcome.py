"""What the cells of the fault table came to, noted for docs/internals/faults.md."""

import json
import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "build" / "faults"


def write_cell(noted, good):
    """Append one cell to this process' own file of notes."""
    if not noted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{os.getpid()}.jsonl").open("a") as notes:
        notes.write(json.dumps({**noted, "good": good}) + "\n")
