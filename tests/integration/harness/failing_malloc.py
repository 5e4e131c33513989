"""fd-host with one failing allocation a job; see failing_malloc.c."""

import collections
import re
from dataclasses import dataclass
from pathlib import Path

from .fd_host import FINDING, FdHost
from .process import run

_SOURCE = Path(__file__).with_suffix(".c")
_OPTIONS = f"detect_leaks=1:exitcode={FINDING}:verify_asan_link_order=0"


@dataclass(frozen=True)
class Allocations:
    """The plugin's allocations in one job: how many, and the numbers of each place."""

    count: int
    places: dict

    def first_of_each_place(self, step, begin=0):
        """One of every so many places."""
        return sorted(numbers[0] for numbers in self.places.values())[begin::step]

    def some_of_each_place(self, most):
        """At most so many of every place, spread from its first to its last."""
        chosen = set()
        for numbers in self.places.values():
            last = len(numbers) - 1
            chosen |= {numbers[last * index // max(most - 1, 1)] for index in range(most)}
        return sorted(chosen)


class FailingHost:
    """An FdHost, with the sanitizers, whose jobs can be made to run out of memory."""

    def __init__(self, folder, interface=23):
        library = folder / "failing_malloc.so"
        run(["cc", "-O1", "-shared", "-fPIC", "-D_GNU_SOURCE", "-fno-builtin", "-o", library, _SOURCE])
        self._places = folder / "places"
        environment = {"LD_PRELOAD": library, "ASAN_OPTIONS": _OPTIONS}
        self.host = FdHost(folder / "host", interface, flavour="asan", env=environment)
        self._counting = {"FAILING_MALLOC_PLACES": self._places}

    def count(self, job):
        """Run a job that must end well; its Allocations."""
        result = self.host.run(_with(job, 0), env=self._counting)
        assert result.code == 0, result.log
        count = int(re.search(r"^JobId \d+: (\d+) allocations$", result.log, re.M)[1])
        places = collections.defaultdict(list)
        for line in self._places.read_text(encoding="ascii").splitlines():
            number, place = line.split()
            places[place].append(int(number))
        assert count == sum(map(len, places.values()))
        return Allocations(count, places)

    def run(self, job, number):
        """Run a job whose so manieth allocation fails; a HostRun."""
        return self.host.run(_with(job, number))


def _with(job, number):
    return [job[0], f"--fail-allocation={number}", *job[1:]]
