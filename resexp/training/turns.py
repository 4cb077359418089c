"""Several runs in one process compute one at a time: each passes the turn on between two iterations."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from resexp.errors import BrokenProcess

PASS_TURN: ContextVar[Callable[[], None] | None] = ContextVar("pass_turn", default=None)
"""Lets the other runs of this process go on; None where a run is alone."""


def pass_turn() -> None:
    """Let the other runs of this process compute until it is this one's turn again."""
    if others := PASS_TURN.get():
        others()


def wait(settled: Callable[[], bool]) -> None:
    """Let the other runs of this process compute until `settled`; a run that is alone does not wait here."""
    if others := PASS_TURN.get():
        while not settled():
            others()


class Turns:
    """Threads that compute one at a time, in the order in which they came.

    One that ends with BrokenProcess ends the others, too: each raises it where its next turn would begin.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._taken = False
        self._waiting: deque[Lock] = deque()
        self._broken: BrokenProcess | None = None

    @contextmanager
    def taking_part(self) -> Generator[None, None, None]:
        """Inside, this thread has the turn, except while it passes it on. Raises BrokenProcess where another did."""
        with self._guard:
            mine = self._queue() if self._taken else None
            self._taken = True
        if mine:
            mine.acquire()
        token = PASS_TURN.set(self.pass_on)
        try:
            self._begin()
            yield
        except BrokenProcess as error:
            self._broken = error
            raise
        finally:
            PASS_TURN.reset(token)
            with self._guard:
                self._taken = bool(self._waiting)
                self._wake_next()

    def pass_on(self) -> None:
        """Let each thread that waits have its turn before this one goes on. Raises BrokenProcess where another did."""
        with self._guard:
            mine = self._queue()
            self._wake_next()
        mine.acquire()
        self._begin()

    def _begin(self) -> None:
        if self._broken is not None:
            raise BrokenProcess(str(self._broken))

    def _queue(self) -> Lock:
        mine = Lock()
        mine.acquire()
        self._waiting.append(mine)
        return mine

    def _wake_next(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
