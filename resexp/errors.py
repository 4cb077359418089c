"""What a user can cause and mend: one line that names the setting and the remedy, never a traceback."""


class UserError(Exception):
    """A mistake in settings, files or surroundings; its text is the whole message that the user reads."""


def only_text(error: BaseException) -> UserError:
    """An error without its frames, which hold the images and the network of its run."""
    shown = isinstance(error, UserError | BrokenProcess)
    return UserError(str(error) if shown else f"{type(error).__name__}: {error}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Busy(UserError):
    """Another process is training this run."""


class BrokenProcess(BaseException):
    """This process can compute no more; its text is one line. Not an `Exception`, so that it ends a whole sweep."""


class Interrupted(BaseException):
    """A signal asked the run to stop; all is saved. Not an `Exception`, so that it ends a whole sweep."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)  # as it was called, so that it can be sent from process to process
        self.signal = signal_number
        self.status = 128 + signal_number

    def __str__(self) -> str:
        return f"stopped by signal {self.signal}"
