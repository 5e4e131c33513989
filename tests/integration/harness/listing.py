"""What the console prints for estimate, .ls and .query."""

import re

_ENTRY = r"^(\S{10}) +(\d+) +(\S+) +(\S+) +(\d+) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (.*)$"
_TOTAL = r"^2000 OK estimate files=(\d+) bytes=([\d,]+)$"


def entries(output):
    """The lines of a listing: (permissions, links, owner, group, size, name)."""
    return [
        (mode, int(links), owner, group, int(size), name)
        for mode, links, owner, group, size, name in re.findall(_ENTRY, output, re.M)
    ]


def total(output):
    """(files, bytes) of the console's last line."""
    ((files, count),) = re.findall(_TOTAL, output, re.M)
    return int(files), int(count.replace(",", ""))


def own_lines(output):
    """What the plugin has to say."""
    return re.findall(r"^qemu: (.*)$", output, re.M)


def answer(output):
    """What a .query printed behind the command's echo."""
    return output.rstrip("\n").splitlines()[-1]
