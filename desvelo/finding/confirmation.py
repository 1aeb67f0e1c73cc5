"""Confirmation: the same program under the same decisions, with real sockets beneath it.

A finding was made in a simulated network. Its replay on kernel sockets says whether real ones do
the same: confirmed when the same failure shows there (kind, type and site), else not confirmed,
with the reason in one line. It is bounded in time and never raises what the target does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from desvelo.errors import DesveloError
from desvelo.finding.replay import first_divergence, unmet_deviations
from desvelo.world.kernel import SECONDS, Kernel, KernelGaveUp
from desvelo.world.values import shorten

if TYPE_CHECKING:
    from desvelo.execution import Outcome
    from desvelo.failure import Failure
    from desvelo.finding.finding import Finding

MOST_LETTERS = 200
ENDLESS = 5_000
"""Loop iterations after which what never ended in the simulated world does not end here either."""


@dataclass(frozen=True)
class Confirmation:
    """What came of it: confirmed or not, or ``None`` when the question does not arise."""

    confirmed: bool | None
    why: str = ""
    """Why not, in one line; empty when confirmed."""

    def mark(self, finding: Finding) -> None:
        """Write it on a finding."""
        finding.confirmed, finding.confirmation = self.confirmed, self.why


THREADS = Confirmation(None, "its threads run for real already")
"""What is said of a finding of threads: there is no loop that could stand on kernel sockets."""


def confirm(
    finding: Finding,
    failure: Failure,
    run: Callable[[Kernel], Outcome | None],
    *,
    seconds: float = SECONDS,
) -> Confirmation:
    """Replay a finding on kernel sockets and compare the failure with the one that was found.

    ``run`` executes its program under its schedule in a world on the given kernel, with a trace;
    it may take ``seconds`` of processor time.
    """
    kernel = Kernel(seconds, max_polls=ENDLESS if failure.kind == "hang" else None)
    try:
        outcome = run(kernel)
    except KernelGaveUp as error:
        return _not_confirmed(str(error))
    except DesveloError as error:
        return _not_confirmed(kernel.trouble or str(error))
    except Exception as error:
        return _not_confirmed(
            kernel.trouble or f"the replay there broke off with {type(error).__name__}: {error}"
        )
    if kernel.trouble:
        return _not_confirmed(kernel.trouble)
    if outcome is None:
        return _not_confirmed("the program could not be run a second time")
    return _verdict(finding, failure, outcome)


def _verdict(finding: Finding, failure: Failure, outcome: Outcome) -> Confirmation:
    if outcome.failure is not None and outcome.failure.identity() == failure.identity():
        return Confirmation(True)
    if outcome.failure is not None:
        seen = outcome.failure
        return _not_confirmed(f"another failure shows there: {seen.summary()} ({seen.site})")
    unmet = unmet_deviations(finding, outcome)
    if unmet:
        return _not_confirmed(f'it did not fail there: the deviation "{unmet[0]}" never came up')
    difference = first_divergence(finding, outcome)
    if difference is not None:
        return _not_confirmed(f"it did not fail there: {difference}")
    return _not_confirmed("it did not fail there, although the same decisions were met")


def _not_confirmed(why: str) -> Confirmation:
    return Confirmation(False, shorten(" ".join(why.split()), MOST_LETTERS))
