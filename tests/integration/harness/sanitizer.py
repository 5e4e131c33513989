"""File Daemons whose plugin is built with AddressSanitizer, LeakSanitizer and UBSan.

With QEMU_FD_SANITIZE=1 in the environment every File Daemon of the tests is
one.  The daemon itself is Bacula's own and knows nothing of it: the runtime is
preloaded.  When the daemons have ended, Bacula.stop() asks here what was found.
"""

import os
import re
import shutil
from pathlib import Path

from .process import run

ACTIVE = os.environ.get("QEMU_FD_SANITIZE") == "1"
BUILD = Path(__file__).resolve().parents[3] / "build" / "asan"
PLUGIN = BUILD / "qemu-fd.so"

_LEAK_CHECK = Path(__file__).with_name("leak_check.c")
_LOOKED_AT = BUILD / "looked-at"  # a letter for every daemon
_REPORT, _MARK = "sanitizer", "leak-check.done"
_OPTIONS = {
    "detect_leaks": 1,
    "leak_check_at_exit": 0,  # leak_check.c looks, and earlier
    # Slower, but right where a library between the plugin and malloc has no
    # frame pointers, as jansson.
    "fast_unwind_on_malloc": 0,
    "malloc_context_size": 40,
    "detect_stack_use_after_return": 1,
    "strict_string_checks": 1,
    # Bacula has handlers of its own for these.
    "handle_segv": 2,
    "handle_sigbus": 2,
    "handle_sigfpe": 2,
    "stack_trace_format": '"    #%n %f %S (%m)"',
}
_UNDEFINED = re.compile(r"^.*: runtime error: .*\n(?: +#\d+ .*\n)*", re.M)
_LEAK = re.compile(r"^((?:Direct|Indirect) leak of .*)\n((?: +#\d+ .*\n)*)", re.M)
_MODULE = re.compile(r"\(([^()]*)\)$", re.M)
_BACULA = re.compile(r"bacula-fd$|libbac[^/]*$")


class Finding(AssertionError):
    """What a sanitizer has found in a File Daemon."""


def wrapper(folder, preloaded=""):
    """What the File Daemon's command line begins with; reports will be in the folder.

    preloaded: what its LD_PRELOAD would be without the sanitizers.
    """
    library = folder / "leak_check.so"
    run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, _LEAK_CHECK])
    options = {**_OPTIONS, "log_path": folder / _REPORT}
    runtimes = [run(["cc", f"-print-file-name={name}"]).strip() for name in ("libasan.so", "libubsan.so")]
    return [
        shutil.which("env"),  # a test's own PATH may have no other program than its own
        f"LD_PRELOAD={':'.join([*runtimes, str(library), *preloaded.split(':')]).rstrip(':')}",
        f"ASAN_OPTIONS={':'.join(f'{name}={value}' for name, value in options.items())}",
        "UBSAN_OPTIONS=print_stacktrace=1",
        f"LEAK_CHECK_MARK={folder / _MARK}",
    ]


def check(folder, ended):
    """Raise Finding if the daemons that ran in the folder have left a reason to.

    ended: how the last of them ended when told to, so that it must have come to
    its leak check; None if it was gone before.
    """
    reports = [path.read_text(errors="replace") for path in sorted(folder.glob(f"{_REPORT}.*"))]
    findings = [text for report in reports for text in _findings(report)]
    # UBSan's runtime knows no log_path when it is not the only one.
    findings += _UNDEFINED.findall((folder / "fd.log").read_text(errors="replace"))
    mark = folder / _MARK
    if mark.exists():
        mark.unlink()
        with _LOOKED_AT.open("a", encoding="ascii") as file:
            file.write(".")
    elif ended is not None:
        findings.append(f"the File Daemon ended, with {ended}, without its leak check")
    if findings:
        raise Finding(f"{folder}:\n" + "\n".join(findings))


def has_ended(pid):
    """Whether a process runs no more, be it waited for or not."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


def concerns(item):
    """Whether a test runs a File Daemon, or fd-host of any version, in this mode.

    Left out are those that measure the daemon's memory, those that run fd-host
    with a sanitizer or under valgrind anyway (test_memory, test_hostile_restore,
    test_torture), and those that have no daemon at all.
    """
    runs_plugin = {"bacula_root", "stages"} & set(item.fixturenames)
    runs_plugin = runs_plugin or item.path.name == "test_interfaces.py"
    return runs_plugin and not item.get_closest_marker("measures_memory")


def looked_at():
    """How many File Daemons were looked at since forget()."""
    return _LOOKED_AT.stat().st_size if _LOOKED_AT.exists() else 0


def forget():
    """Count File Daemons anew."""
    _LOOKED_AT.unlink(missing_ok=True)


def _findings(report):
    """The plugin's leaks of a report that is about leaks only, else the whole report."""
    leaks = _LEAK.findall(report)
    if "ERROR: LeakSanitizer: detected memory leaks" in report and leaks:
        return [f"{title}\n{stack}" for title, stack in leaks if _is_ours(stack)]
    return [report]


def _is_ours(stack):
    """Whether the plugin asked for this memory, itself or through a library.

    Every stack has Bacula's frames further out, and Bacula has leaks of its own.
    """
    for module in _MODULE.findall(stack):
        if _BACULA.search(module):
            return False
        if module.endswith("qemu-fd.so"):
            return True
    return "qemu-fd" in stack
