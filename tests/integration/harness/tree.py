"""What lies below a folder that somebody else is at work in."""

import os
from pathlib import Path


def paths_below(root):
    """All files and folders below one, in order.

    One that is removed meanwhile is passed over; Path.rglob stumbles over a folder.
    """
    return sorted(
        Path(folder) / name for folder, folders, files in os.walk(root) for name in [*folders, *files]
    )
