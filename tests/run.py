"""Run the tests and close with one line that counts all of them."""

import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

_TOP = Path(__file__).resolve().parents[1]
_REPORT = _TOP / "build" / "pytest.xml"
_UNIT_LIMIT = 900
_LONG = os.environ.get("QEMU_FD_LONG") == "1"  # "make check-all"
_CMOCKA = re.compile(r"\[ *(PASSED|FAILED|SKIPPED) *\].*?(\d+) test")


def run_unit(program, *arguments):
    """Run one cmocka program, or what prints as one; its counts as (passed, failed, skipped)."""
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0")
    result = subprocess.run(
        [program, *arguments], capture_output=True, text=True, errors="replace", timeout=_UNIT_LIMIT,
        env=environment, check=False,
    )
    output = result.stdout + result.stderr
    counts = {kind: int(number) for kind, number in _CMOCKA.findall(output)}
    failed = counts.get("FAILED", 0)
    if result.returncode != 0 and not failed:
        failed = 1  # a sanitizer's finding, or a crash before the summary
    if failed:
        print(output)
    passed = counts.get("PASSED", 0)
    print(f"{Path(program).name}: {passed} passed, {failed} failed", flush=True)
    return passed, failed, counts.get("SKIPPED", 0)


def _corpus(program):
    return _TOP / "tests" / "fuzz" / "corpus" / Path(program).name.removeprefix("replay_")


def in_parallel():
    """Most of a test is waiting, so more of them run than there are processors."""
    return ["-n", str(3 * (os.cpu_count() or 1)), "--dist", "loadgroup"]


def run_integration(arguments):
    """Run pytest on the integration tests; the counts of its report."""
    _REPORT.unlink(missing_ok=True)
    folder = _TOP / "tests" / "integration"
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), str(folder),
               f"--junitxml={_REPORT}", "--durations=15", *in_parallel(), *arguments]
    if not _LONG:
        command += ["-m", "not long"]
    returned = subprocess.run(command, check=False).returncode
    if not _REPORT.exists():
        return 0, 1, 0
    suite = ElementTree.parse(_REPORT).getroot().find("testsuite")
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    skipped = int(suite.get("skipped"))
    passed = int(suite.get("tests")) - failed - skipped
    return passed, failed or int(returned != 0), skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", nargs="*", default=[], help="unit test programs")
    parser.add_argument("--replay", nargs="*", default=[], help="fuzz targets, on their corpus")
    parser.add_argument("--integration", action="store_true")
    parser.add_argument("--select", help="only integration tests that match (pytest -k)")
    options = parser.parse_args()
    begun = time.monotonic()
    counts = [run_unit(program) for program in options.unit]
    counts += [run_unit(program, _corpus(program)) for program in options.replay]
    if options.integration:
        counts.append(run_integration(["-k", options.select] if options.select else []))
    passed, failed, skipped = (sum(column) for column in zip(*counts))
    print(f"{time.monotonic() - begun:.0f} seconds")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
