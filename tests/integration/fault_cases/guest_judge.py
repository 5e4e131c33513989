"""What a job may do to the guest that it saves: nothing that the guest could see afterwards."""

from harness.pace import patient
from harness.process import PATIENCE, Failure, wait_until

# What its shortest write, and a dozen of them, may take longer than before: a machine that is
# busy now will not be so all the time.
_SHORTEST, _DOZEN = 5, 2

# Seconds that it may stand because its dump cannot be written.
_LONGEST = 20


class GuestJudge:
    """Asks a WatchedGuest how it fared, by what its own program tells.

    note is for a time without a job; the questions come after one.
    """

    def __init__(self, guest):
        self.guest = guest
        self.patience = PATIENCE
        self._before = None
        self._failed = 0  # writes, that are excused
        self._stops = (guest.pid, 0)  # how often this QEMU's guest was stopped, excused as well

    def note(self):
        """Take its speed now for that which it must have afterwards."""
        self._before = self.guest.write_speed()

    def excuse(self):
        """That writes failed, or that the guest was stopped, until now is no fault of the plugin's."""
        self._failed = self.guest.failed_writes()
        self._stops = (self.guest.pid, len(self.guest.events("STOP")))

    def assert_stood_shortly(self):
        """Where it was stopped it was continued, in seconds each time."""
        pid, excused = self._stops
        events = self.guest.all_events("STOP", "RESUME")[2 * excused if pid == self.guest.pid else 0 :]
        times = [event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
                 for event in events]  # fmt: skip
        assert len(times) % 2 == 0, "the guest was stopped and not continued"
        stood = [end - begin for begin, end in zip(times[::2], times[1::2])]
        assert all(seconds < patient(_LONGEST) for seconds in stood), f"the guest stood for {max(stood):.0f} s"

    def assert_unharmed(self):
        """It runs, it was never stopped, no write of its failed, and it writes."""
        status = self.guest.qmp("query-status")["status"]
        assert status == "running", f"the guest is {status}"
        pid, excused = self._stops
        stopped = len(self.guest.events("STOP")) - (excused if pid == self.guest.pid else 0)
        assert not stopped, "the guest was stopped"
        failed = self.guest.failed_writes() - self._failed
        assert not failed, f"{failed} writes of the guest have failed"
        try:
            self.guest.await_writes(2, self.patience)
        except Failure as problem:
            raise AssertionError(f"the guest writes no more: {problem}") from None

    def assert_speed(self):
        """It writes as fast as before."""
        seen = []

        def as_before():
            seen.append(self.guest.write_speed())
            return (seen[-1][0] <= _SHORTEST * self._before[0]
                    and seen[-1][1] <= _DOZEN * self._before[1])

        try:
            wait_until(as_before, self.patience, "a guest as fast as before")
        except Failure:
            before, best = ((speed[0] / 1e6, speed[1]) for speed in (self._before, min(seen)))
            raise AssertionError(
                f"a write of the guest takes {best[0]:.1f} ms at best, a dozen {best[1]:.1f} s; "
                f"before the job it was {before[0]:.1f} ms and {before[1]:.1f} s") from None
