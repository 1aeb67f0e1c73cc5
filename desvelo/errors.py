"""Every error that Desvelo raises on purpose, one class each."""

from __future__ import annotations

from collections.abc import Callable

on_refusal: Callable[[DesveloError], None] | None = None
"""Told of every refusal of the world at the moment it is raised: a target may swallow it."""


class DesveloError(Exception):
    """Base of all errors that are Desvelo's own word to its user."""


class UsageError(DesveloError):
    """The user asked for something that cannot be done: wrong name, value or option.

    The command line ends with status 2.
    """


class TargetError(DesveloError):
    """The system under test could not be loaded or started.

    The command line ends with status 3.
    """


class ServerGone(TargetError):
    """A real server that the target uses does not answer any more: it died, or was stopped.

    What was found before that is kept.
    """


class ServerRefused(DesveloError):
    """A real server's answer to a request of ours, such as to empty a table, was an error."""


class FindingFileError(DesveloError):
    """A finding file cannot be used: truncated, of a newer schema, or not a finding."""


class ReplayDiverged(DesveloError):
    """A replay met another decision than the one that was recorded.

    The message names the first decision that differs: what was expected, what came.
    """


class OutsideWorldError(DesveloError):
    """Code inside the simulated world tried to reach the real one.

    Raised before anything is opened; the message names the call and the line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        _tell(self)


class UnsupportedInWorld(DesveloError, NotImplementedError):
    """A facility that the simulated world does not have, named with its line."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        _tell(self)


class LoopBlocked(DesveloError):
    """A callback held the event loop for longer, in real time, than the bound allows."""


class WorldStuck(DesveloError):
    """Nothing can happen any more, and something is still waiting."""


class StepLimitReached(DesveloError):
    """The execution went on beyond the bound on its number of loop iterations."""


class TimeIsUp(DesveloError):
    """An execution that had not ended when the time of the search was over, and is not judged."""


def _tell(error: DesveloError) -> None:
    if on_refusal is not None:
        on_refusal(error)
