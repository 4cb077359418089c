"""What became of the runs of a sweep, or of another command, in words."""

from dataclasses import dataclass, replace

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
    """The final running training error of a run that was trained."""

    def __float__(self) -> float:
        if self.running_error is None:
            raise ValueError(f"{self.run} has no error")
        return self.running_error

    def __str__(self) -> str:
        more = f"; see {self.log}" if self.log else ""
        return f"{self.run}  {self.words}" + (f": {self.error}{more}" if self.error else "")


def table(outcomes: list[Outcome]) -> str:
    """One line a run: which it is, and what became of it."""
    width = max(len(outcome.run) for outcome in outcomes)
    return "\n".join(str(replace(outcome, run=f"{outcome.run:<{width}}")) for outcome in outcomes)
