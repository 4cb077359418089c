"""What became of the runs of a sweep, or of another command."""

from dataclasses import dataclass, replace
from typing import Any

from resexp.errors import Interrupted, UserError


@dataclass(frozen=True)
class Outcome:
    """What became of one run or task: a few words, and the error if it was not done. As a number it is its error."""

    run: str
    words: str
    error: UserError | BrokenPipeError | Interrupted | None = None
    log: str = ""
    """File that tells more of a failure."""
    running_error: float | None = None
    """The final running training error of a run that is finished."""
    test_error: float | None = None

    @classmethod
    def finished(cls, run: str, words: str, final: dict[str, float]) -> "Outcome":
        """Of a run with these final metrics."""
        return cls(run, words, running_error=final.get("running_error"), test_error=final.get("test_error"))

    def __float__(self) -> float:
        if self.running_error is None:
            raise ValueError(f"{self.run} has no error")
        return self.running_error

    def record(self) -> dict[str, Any]:
        """It for programs."""
        return {
            **{"run": self.run, "outcome": self.words},
            **{"running_error": self.running_error, "test_error": self.test_error},
            **{"error": self.error and str(self.error), "log": self.log or None},
        }

    def __str__(self) -> str:
        named = {"training": self.running_error, "test": self.test_error}
        errors = "".join(f", {name} error {value:.1%}" for name, value in named.items() if value is not None)
        more = f"; see {self.log}" if self.log else ""
        return f"{self.run}  {self.words}{errors}" + (f": {self.error}{more}" if self.error else "")


def table(outcomes: list[Outcome]) -> str:
    """One line a run: which it is, and what became of it."""
    width = max(len(outcome.run) for outcome in outcomes)
    return "\n".join(str(replace(outcome, run=f"{outcome.run:<{width}}")) for outcome in outcomes)
