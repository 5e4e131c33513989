"""How long each write took of a guest that writes all the time."""

import socket
import threading
import time

from harness.process import Failure, wait_until


class Listener(threading.Thread):
    """Notes when each write was done; one is in flight at any time."""

    def __init__(self, channel):
        super().__init__(daemon=True)
        self.times = []
        self._failed = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(channel))
        self.start()
        wait_until(lambda: self.times, 60, "the guest's first write")

    def run(self):
        while said := self._socket.recv(4096):
            self.times += [time.perf_counter()] * len(said)
            self._failed = self._failed or b"!" in said

    def milliseconds(self, begin, end):
        """How long each write took that began and ended in this time."""
        if self._failed:
            raise Failure("the guest could not write")
        times = [moment for moment in self.times if begin <= moment <= end]
        return [(after - before) * 1000 for before, after in zip(times, times[1:])]
