"""This code against an earlier revision of itself, in turns on one machine within one run.

Whatever else the machine does disturbs both alike, so changes show that no comparison with
yesterday's numbers could tell from noise.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from desvelo.errors import TargetError, UsageError
from desvelo.measure.context import Context
from desvelo.measure.history.comparison import Candidate, Limits, judged
from desvelo.measure.history.noise import LEAST_PAIRS, of_pairs
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all
from desvelo.measure.processes.sampling import cpu_seconds
from desvelo.measure.processes.server import ServerProcess, own_server
from desvelo.measure.result import Comparison, Metric

PHASE = "webhook"
PAIRS = 32
SECONDS = 0.25
"""How long each server is measured at a time."""
USERS = 10
FIRST_GUESS = 1000.0
"""Requests a second for which requests are drawn before it is known how many are answered."""

Measured = dict[str, list[float]]
"""The values of each metric, one for each turn."""
METRICS = {
    "throughput": Metric(0, "1/s", "higher"),
    "latency_p50": Metric(0, "s", "lower"),
    "latency_p99": Metric(0, "s", "lower"),
    "cpu_per_request": Metric(0, "s", "lower"),
}


def compare_with_revision(
    context: Context,
    revision: str,
    limits: Limits | None = None,
    *,
    pairs: int = PAIRS,
    seconds: float | None = None,
) -> list[Comparison]:
    """Send webhooks to a server of this code and to one of a revision, in turns, and compare.

    Raises `UsageError` when there is no such revision, `TargetError` when a server does not
    start or does not last.
    """
    if pairs < LEAST_PAIRS:
        raise UsageError(f"{pairs} pairs are too few to tell anything; at least {LEAST_PAIRS}")
    folder = context.folder / "earlier"
    extract(revision, folder)
    bar = context.progress.start(f"against {revision}", pairs)
    try:
        with (
            a_server(context, "now") as now,
            a_server(context, "before", checkout=folder) as before,
        ):
            earlier, current = in_turns(
                context, (before, now), pairs, seconds or SECONDS, bar.advance
            )
    finally:
        bar.finish()
    return judge_pairs(earlier, current, limits or Limits())


def judge_pairs(earlier: Measured, current: Measured, limits: Limits) -> list[Comparison]:
    """Compare what was measured in turns; nothing is said of fewer than five pairs."""
    candidates = []
    for name, metric in METRICS.items():
        change = of_pairs(earlier[name], current[name])
        if change is not None:
            count = len(current[name])
            candidates.append(Candidate(PHASE, name, metric, change, count, "pairs"))
    return judged(candidates, limits)


def extract(revision: str, folder: Path) -> None:
    """Write the files of a revision of the git repository of this folder into another one."""
    folder.mkdir(parents=True)
    command = ["git", "archive", "--format=tar", f"{revision}^{{commit}}", "--"]
    try:
        archive = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise UsageError(f"--against: git cannot be run: {error}") from error
    if archive.returncode:
        lines = archive.stderr.decode(errors="replace").strip().splitlines()
        told = lines[-1] if lines else "it says nothing"
        raise UsageError(f"--against: git has no revision {revision!r} here ({told})")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def in_turns(
    context: Context,
    servers: tuple[ServerProcess, ServerProcess],
    pairs: int,
    seconds: float,
    told: Callable[[], object] = lambda: None,
) -> tuple[Measured, Measured]:
    """Put one server under load and then the other, so many times; returns the values of each."""
    measured: tuple[Measured, Measured] = (defaultdict(list), defaultdict(list))
    rate = FIRST_GUESS
    for number in range(-1, pairs):
        if context.interruption.is_set():
            break
        # First one, then the other begins, so that neither always comes second; the round
        # before the first is only there to warm both up.
        order = (0, 1) if number % 2 else (1, 0)
        # Both are sent the same, of the same shapes each time: what is left is the code.
        count = max(round(2 * rate * seconds), 100)
        supply = context.offered("webhook_requests")(context.settings.seed, count)
        turns = {place: _measure(context, servers[place], seconds, supply) for place in order}
        rate = max(turn["throughput"] for turn in turns.values())
        if number < 0:
            continue
        for place, turn in turns.items():
            for name, value in turn.items():
                measured[place][name].append(value)
        told()
    return measured


def _measure(
    context: Context, server: ServerProcess, seconds: float, supply: list[WebhookRequest]
) -> dict[str, float]:
    tally = Tally(context.offered("accepted"), Ledger())
    load = Load(server.url, tally, over=lambda: bool(server.death))
    used = cpu_seconds(server.pid)
    window = asyncio.run(send_all(load, iter(supply), USERS, seconds))
    used = cpu_seconds(server.pid) - used
    if server.death:
        raise TargetError(f"while it was compared, {server.death}")
    if not tally.ends:
        raise TargetError(f"while it was compared, {server.url} answered nothing as it should")
    step = tally.step(window, users=USERS)
    return {
        "throughput": step.throughput,
        "latency_p50": step.latency.at(50.0),
        "latency_p99": step.latency.at(99.0),
        "cpu_per_request": used / tally.requests,
    }


@contextlib.contextmanager
def a_server(
    context: Context, name: str, *, checkout: Path | None = None
) -> Iterator[ServerProcess]:
    """Run a server in a folder of this name; its code is that of ``checkout``, if there is one."""
    server_command = context.offered("server_command")
    folder = context.folder / name
    folder.mkdir()

    def command(port: int) -> list[str]:
        words: list[str] = server_command(port, folder)
        return words if checkout is None else [_there(word, checkout) for word in words]

    with own_server(
        command,
        folder,
        health=getattr(context.target, "health", "/health"),
        interruption=context.interruption,
        checkout=checkout,
    ) as server:
        yield server


def _there(word: str, checkout: Path) -> str:
    """Return the path of a file of the earlier revision for that of the same one here.

    Without this, a command that names a script by its whole path would run today's.
    """
    here = Path.cwd()
    if not word.startswith(f"{here}{os.sep}"):
        return word
    earlier = checkout / Path(word).relative_to(here)
    return str(earlier) if earlier.exists() else word
