"""Waiting for a condition. No test sleeps and none measures: each waits until something holds, up to a deadline that is
far beyond what a healthy machine needs."""

import time

PATIENCE = 20.0
"""Seconds after which a condition is given up; a budget for slow machines, not a promise about speed."""


class TimedOut(Exception):
    """A condition did not come about before its deadline."""


class Deadline:
    """A moment after which waiting ends."""

    def __init__(self, seconds=PATIENCE):
        self.end = time.monotonic() + seconds

    def left(self):
        """Seconds left, never negative."""
        return max(0.0, self.end - time.monotonic())

    def expired(self):
        """Whether the moment has passed."""
        return time.monotonic() >= self.end


def until(condition, what, seconds=PATIENCE):
    """Polls `condition` until it returns something true, and returns that. Raises `TimedOut` that names `what`."""
    deadline = Deadline(seconds)
    while True:
        found = condition()
        if found:
            return found
        if deadline.expired():
            raise TimedOut(f"waited {seconds:g} s for: {what}")
        time.sleep(0.005)
