"""The machine that the figures are of."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path


def _first(pattern, text, default="unknown"):
    match = re.search(pattern, text, re.M)
    return match[1].strip() if match else default


def _output(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _disk(folder):
    """File system, device and whether that turns."""
    source, kind = (_output("findmnt", "-n", "-o", "SOURCE,FSTYPE", "-T", str(folder)).split()
                    or ["unknown", "unknown"])[:2]
    name = re.sub(r"p?\d+$", "", Path(source).name) if "nvme" in source else Path(source).name
    queue = Path("/sys/class/block") / name / "queue"
    if not queue.is_dir():
        queue = Path("/sys/class/block") / name.rstrip("0123456789") / "queue"
    rotational = queue / "rotational"
    turns = {"0": ", no rotating disk", "1": ", said to rotate"}
    how = turns.get(rotational.read_text().strip(), "") if rotational.is_file() else ""
    return f"{kind} on {source}{how}"


def _memory():
    kib = int(_first(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), "0"))
    return f"{kib / 1024 / 1024:.1f} GiB"


def _virtualized():
    kind = _output("systemd-detect-virt", "--vm").strip()
    return {"": "", "none": ", bare metal"}.get(kind, f", itself a virtual machine ({kind})")


def describe(settings, bacula, caches):
    """Lines of (what, value)."""
    cpu = Path("/proc/cpuinfo").read_text()
    load = os.getloadavg()
    return [
        ("Date", datetime.date.today().isoformat()),
        ("Processor", f"{_first(r'^model name.*: (.*)$', cpu)}, {os.cpu_count()} cores"
                      f"{_virtualized()}"),
        ("Memory", _memory()),
        ("Disk", _disk(settings.folder)),
        ("Kernel", platform.release()),
        ("QEMU", _first(r"version (.*)$", _output(settings.qemu, "--version"))
                 + "; guests under TCG, which halt at once and take no processor, but for figure 7"),
        ("Bacula", f"{bacula}, one Director, Storage and File Daemon on the loopback interface"),
        ("Caches", caches),
        ("Load before", f"{load[0]:.2f} (1 minute), {load[1]:.2f} (5 minutes)"),
    ]
