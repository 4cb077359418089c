"""SIGINT, SIGTERM and SIGUSR2 (a scheduler's warning before its time limit): the first saves, a second ends."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Stop:
    """Inside `with Stop() as stop`, `stop.signal` is the first signal that came, None before.

    Inside another `Stop`, that one is `stop`. Further signals end the process; a patient one ignores them. `pass_on`
    sends signals to other processes: SIGTERM, by which they save and leave, and SIGKILL when this one ends at once.
    """

    def __init__(self, patient: bool = False, pass_on: Callable[[int], object] | None = None) -> None:
        self.signal: int | None = None
        self.patient, self.pass_on = patient, pass_on

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            if self.pass_on:
                self.pass_on(signal.SIGTERM)
        elif not self.patient:
            if self.pass_on:
                self.pass_on(signal.SIGKILL)
            os._exit(128 + self.signal)

    def __enter__(self) -> "Stop":
        self._before = {}
        outer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if isinstance(outer, Stop):
            return outer
        # Only the main thread can set handlers; in others (of a notebook) signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
