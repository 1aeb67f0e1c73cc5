"""The server that a phase sends its requests to: a live one at a URL, or one of the run's own."""

from __future__ import annotations

import contextlib
import http.client
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from desvelo.errors import TargetError
from desvelo.measure.context import Context
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.processes.sampling import EVERY, Sampling
from desvelo.measure.processes.server import ServerProcess, own_server, why_silent
from desvelo.measure.result import Metric, PhaseResult, Status

HEALTH = "/health"


@dataclass
class Served:
    """A server that answers; ``process`` and ``sampling`` are None when it is not the run's own."""

    url: str
    process: ServerProcess | None = None
    sampling: Sampling | None = None

    @property
    def death(self) -> str:
        """How the run's own server ended; empty while it is alive, or when it is another's."""
        return self.process.death if self.process is not None else ""


@contextlib.contextmanager
def serving(context: Context, result: PhaseResult, every: float = EVERY) -> Iterator[Served | None]:
    """Yield a server that answers; nothing, and a skipped phase, when a live one does not.

    At the end what the own server used is written into ``result``, and how it ended. Raises what
    `own_server` raises.
    """
    settings = context.settings
    health = getattr(context.target, "health", HEALTH)
    if settings.url:
        silent = why_silent(settings.url, health)
        if not silent:
            result.notes.append(f"sent to {settings.url}, which is not this run's own server")
            yield Served(settings.url)
        else:
            result.status = Status.SKIPPED
            result.reason = silent
            yield None
        return
    with (
        _own(context, health) as process,
        Sampling(process.pid, every) as sampling,
    ):
        result.metrics["server_start"] = Metric(process.seconds, "s", "lower")
        yield Served(process.url, process, sampling)
        if process.death:
            result.fail(process.death)
    result.samples = sampling.samples
    if sampling.samples:
        result.metrics["memory"] = Metric(sampling.peak_rss, "B", "lower")
        cores = [sample.cpu for sample in sampling.samples[1:]]
        if cores:
            result.metrics["cpu"] = Metric(sum(cores) / len(cores), "cores", samples=tuple(cores))
    if process.killed:
        result.notes.append("the server did not end within 5 s of SIGTERM and was killed")


def compare_stored(context: Context, result: PhaseResult, served: Served, ledger: Ledger) -> None:
    """Compare what is stored with what was acknowledged, and write down what is wrong.

    A server that died is started once more: what it had acknowledged is to have outlived it.
    """
    stored_keys: Callable[[str], Counter[str]] = context.offered("stored_keys")
    try:
        if served.death:
            with _own(context, getattr(context.target, "health", HEALTH)) as again:
                stored = stored_keys(again.url)
                result.notes.append("what is stored was read after a new start of the server")
        else:
            stored = stored_keys(served.url)
    except (OSError, http.client.HTTPException, TargetError) as error:
        result.fail(f"what is stored could not be read, so nothing is known of it: {error}")
        return
    difference = ledger.against(stored)
    result.problems += difference.sentences()
    if difference.sentences():
        result.fail(difference.sentences()[0])
    for name, keys in (
        ("lost", difference.lost),
        ("stored_twice", difference.twice),
        ("stored_though_refused", difference.unwanted),
    ):
        result.metrics[name] = Metric(len(keys), "", "lower")


def _own(context: Context, health: str) -> contextlib.AbstractContextManager[ServerProcess]:
    server_command = context.offered("server_command")
    return own_server(
        lambda port: server_command(port, context.folder),
        context.folder,
        port=context.settings.port,
        health=health,
        interruption=context.interruption,
    )
