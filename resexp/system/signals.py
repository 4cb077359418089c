"""SIGINT, SIGTERM and SIGUSR2 (a scheduler's word that time is nearly up): one asks to save and leave, two leave."""

import os
import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Stop:
    """Inside `with Stop() as stop`, `stop.signal` is the signal that asked to stop, None before one did.

    Where a whole process is inside one already, that one is `stop`. A patient one takes no offence at a second signal.
    """

    def __init__(self, patient: bool = False) -> None:
        self.signal: int | None = None
        self.patient = patient

    def first(self) -> None:
        """Called when the first signal has come."""

    def second(self) -> None:
        """Called when one more has come: leaves at once."""
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
        # Handlers belong to the main thread; elsewhere (a notebook's worker) signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
