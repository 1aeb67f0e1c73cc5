"""What became of the requests of one piece of load: times, kinds of error, the ledger."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from desvelo.measure.load.histogram import latency_of
from desvelo.measure.load.ledger import Fate, Ledger
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.window import Window
from desvelo.measure.result import LoadStep

Accepted = Callable[[int, bytes], bool]
"""Whether an answer (status, body) acknowledges."""

NOT_ACKNOWLEDGED = "success without an acknowledgement"
WRONGLY_ACCEPTED = "accepted what is to be refused"


@dataclass
class Tally:
    """Counts outcomes; several tallies may write to one ledger."""

    accepted: Accepted
    ledger: Ledger
    errors: Counter[str] = field(default_factory=Counter)
    times: array[float] = field(default_factory=lambda: array("d"))
    """Seconds from begin to end of each request that was answered, or was waited for in vain."""
    ends: array[float] = field(default_factory=lambda: array("d"))
    """The moments at which requests were answered as they should be."""
    requests: int = 0
    told: Callable[[], object] = lambda: None
    """Called after each request."""

    def note(
        self,
        request: WebhookRequest,
        began: float,
        status: int,
        body: bytes,
        error: str,
        moment: float,
    ) -> None:
        """Count a request that has ended. All moments are those of `time.perf_counter`."""
        self.requests += 1
        if status or error == "time-out":
            # Without those that nobody answered in time, a server that hangs would look fast.
            self.times.append(moment - began)
        fate, kind = judged(request, self.accepted, status, body, error)
        if kind:
            self.errors[kind] += 1
        else:
            self.ends.append(moment)
        self.ledger.note(request.key, fate)
        self.told()

    @property
    def failed(self) -> int:
        """How many requests did not end as they should."""
        return self.errors.total()

    def step(self, window: Window, *, users: int = 0, offered: float = 0) -> LoadStep:
        """Return this as one level of load."""
        begin, seconds = window.begin, window.seconds
        within = sum(begin <= end <= begin + seconds for end in self.ends)
        return LoadStep(
            users=users,
            offered=offered,
            seconds=seconds,
            requests=self.requests,
            errors=self.failed,
            throughput=within / seconds if seconds > 0 else 0.0,
            latency=latency_of(self.times),
        )

    def rates(self, window: Window, parts: int = 10) -> tuple[float, ...]:
        """Return the throughput in equal parts of the time, for whoever asks how steady it was."""
        begin, seconds = window.begin, window.seconds
        counts = [0] * parts
        for end in self.ends:
            if begin <= end < begin + seconds:
                counts[int((end - begin) / seconds * parts)] += 1
        return tuple([count * parts / seconds for count in counts]) if seconds > 0 else ()


def judged(
    request: WebhookRequest, accepted: Accepted, status: int, body: bytes, error: str = ""
) -> tuple[Fate, str]:
    """Return what a request came to, and the kind of its error, empty when it is as it should be.

    >>> valid, wrong = (
    ...     WebhookRequest("POST", "/", b""),
    ...     WebhookRequest("POST", "/", b"", valid=False),
    ... )
    >>> def success(status, body):
    ...     return status == 200
    >>> [judged(valid, success, status, b"")[1] for status in (200, 404, 500)]
    ['', 'status 404', 'status 500']
    >>> [judged(wrong, success, status, b"")[1] for status in (200, 404, 500)]
    ['accepted what is to be refused', '', 'status 500']
    """
    if error:
        return Fate.UNKNOWN, error
    if accepted(status, body):
        return Fate.ACKNOWLEDGED, "" if request.valid else WRONGLY_ACCEPTED
    # A server that says it has failed may have failed after it had stored.
    fate = Fate.UNKNOWN if status >= 500 else Fate.REFUSED
    if not request.valid and fate is Fate.REFUSED:
        return fate, ""
    return fate, NOT_ACKNOWLEDGED if 200 <= status < 300 else f"status {status}"
