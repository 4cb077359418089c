"""SIGINT, SIGTERM and SIGUSR2 (a scheduler's warning before its time limit): the first saves, a second ends."""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Stop:
    """Inside `with Stop() as stop`, `stop.signal` is the first signal that came, None before.

    Inside another `Stop`, that one is `stop`. A patient one ignores further signals.
    """

    def __init__(self, patient: bool = False) -> None:
        self.signal: int | None = None
        self.patient = patient

    def first(self) -> None:
        """What the first signal does at once: nothing, here."""

    def second(self) -> None:
        """What any further signal does: end the process, unless patient."""
        if not self.patient:
            assert self.signal is not None
            os._exit(128 + self.signal)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.second()
        else:
            self.signal = number
            self.first()

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
