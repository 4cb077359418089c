"""SIGINT and SIGTERM: the first asks the loop to save and leave, the second leaves at once."""

import os
import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Inside `with Stop() as stop`, `stop.signal` is the signal that asked the loop to stop, None before one did."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number

    def __enter__(self) -> "Stop":
        # Handlers belong to the main thread; elsewhere (a notebook's worker) signals keep their meaning.
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._main:
            for number, handler in self._before.items():
                signal.signal(number, handler)
