"""What the product promises in seconds, measured on a machine that does other things too.

What only has to happen at all waits for PATIENCE (harness/process.py).  A bound holds for a
machine that has nothing else to do: beside others that want its processors or disks,
everything takes longer by their number, and is allowed to.
"""

import math
import os
import threading
import time
from pathlib import Path

from .process import PATIENCE, Failure, wait_until

_INTERVAL = 0.05


def _wanted():
    """Threads that now run, wait for a processor or wait for a disk, without ours."""
    lines = Path("/proc/stat").read_text().splitlines()
    counts = [int(line.split()[1]) for line in lines if line.startswith(("procs_running", "procs_blocked"))]
    return sum(counts) - 1


def _processors():
    return len(os.sched_getaffinity(0))


def slowness():
    """How many times as long as on an idle machine something may take, to judge by the last minute."""
    return max(1, os.getloadavg()[0] / _processors(), _wanted() / _processors())


def unhurried(rate):
    """Bytes a second of a dump in whose midst a test acts: fewer where that takes long."""
    return int(rate / max(1, slowness() / 2))


def patient(seconds):
    """A limit of so many seconds on an idle machine, for what has to be done within it."""
    return math.ceil(seconds * slowness())


class Stopwatch:
    """Measures what something took, and what it would have taken by itself:

    with Stopwatch() as watch:
        …
    assert watch.seconds < 2
    """

    def __init__(self):
        self.elapsed = 0
        self._begun = time.monotonic()
        self._samples = [_wanted()]
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self._sampler.start()
        return self

    def __exit__(self, *_):
        self.elapsed = time.monotonic() - self._begun
        self._done.set()
        self._sampler.join()

    @property
    def seconds(self):
        """Without what others took; on an idle machine all that elapsed."""
        mean = sum(self._samples) / len(self._samples)
        return (self.elapsed or time.monotonic() - self._begun) / max(1, mean / _processors())

    def _sample(self):
        while not self._done.wait(_INTERVAL):
            self._samples.append(_wanted())


def wait_within(condition, bound, what, interval=0.05):
    """Poll until condition() is true and return it; a Failure if that took more than the bound."""
    with Stopwatch() as watch:
        answer = wait_until(condition, max(PATIENCE, bound), what, interval)
    if watch.seconds > bound:
        raise Failure(f"{what} took {watch.elapsed:.1f} s, as long as {watch.seconds:.1f} s on an idle machine: {bound} s are allowed")
    return answer
