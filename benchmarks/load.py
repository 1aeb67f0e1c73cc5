"""The load generator beside wrk, Locust and wrk2, on one aiohttp server, one core each.

    python -m benchmarks load                          # rates: wrk, Locust; and the webhook run
    python -m benchmarks load --wrk2 PATH_TO_WRK2      # latencies at three rates as well

All of a table is measured in turns, and what is compared are ratios of medians: on a machine that
others use too, nothing else means much. wrk2 is https://github.com/giltene/wrk2, whose program is
also called wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from desvelo.measure.context import Context
from desvelo.measure.load import WebhookRequest
from desvelo.measure.load.arrivals import arrive
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all
from desvelo.measure.phases import webhook
from desvelo.measure.plan import Wishes, plan
from desvelo.measure.processes.sampling import Sampling
from desvelo.measure.processes.server import own_server
from desvelo.targets import load_target

SERVER = Path(__file__).with_name("load_server.py")
USERS = 50
CONNECTIONS = 100
RATES = (251.0, 487.0, 1013.0)
"""Arrivals a second for the comparison of latencies: no two connections send in step."""
SLOW = ("--delay", "0.02", "--stall", "0.2")
"""The server whose latencies are compared: wrk2 waits in whole milliseconds, so that what it says
of answers within a millisecond is mostly its own timer's."""
PERCENTILES = (50.0, 75.0, 90.0, 99.0, 99.9)
BODY = (
    b'{"event_type": "DETECTION_COMPLETED", "payload": {"patient_code": "TEST-17", '
    b'"detections": [{"confidence": 0.85, "stage": 2}]}}'
)
LUA = f"""
wrk.method = "POST"
wrk.body = [[{BODY.decode()}]]
wrk.headers["Content-Type"] = "application/json"
"""
LOCUSTFILE = f"""
import time
from locust import FastHttpUser, constant, task

class Sender(FastHttpUser):
    wait_time = constant(0)

    @task
    def send(self):
        with self.client.post("/webhook", data={BODY!r}, catch_response=True,
                              headers={{"Content-Type": "application/json"}}) as answer:
            if answer.status_code == 200 and answer.json()["success"]:
                answer.success()
            else:
                answer.failure("not accepted")

time.sleep(0.01)  # or gevent takes the time of the imports for time of the run
"""
HEADERS = {"Content-Type": "application/json"}

accepted = load_target("vigia_reference").accepted


def requests() -> Iterator[WebhookRequest]:
    """Yield requests, each with a key of its own for the ledger."""
    for number in itertools.count():
        yield WebhookRequest("POST", "/webhook", BODY, HEADERS, f"key-{number}")


def desvelo_rate(url: str, seconds: float) -> float:
    """Answers are judged, and the ledger is kept, as in the load phase."""
    tally = Tally(accepted, Ledger())
    window = asyncio.run(send_all(Load(url, tally), requests(), USERS, seconds))
    assert not tally.failed, tally.errors
    return tally.step(window).throughput


def wrk_rate(url: str, seconds: float, folder: Path) -> float:
    script = folder / "post.lua"
    script.write_text(LUA)
    told = output(
        "wrk", "-t1", f"-c{USERS}", f"-d{seconds:g}s", "-s", str(script), f"{url}/webhook"
    )
    assert "Non-2xx" not in told, told
    return float(re.search(r"Requests/sec:\s*([\d.]+)", told)[1])  # type: ignore[index]


def locust_rate(url: str, seconds: float, folder: Path) -> float:
    file = folder / "locustfile.py"
    file.write_text(LOCUSTFILE)
    locust = str(Path(sys.executable).with_name("locust"))
    arguments = ["-f", str(file), "--headless", "-u", str(USERS), "-r", str(USERS), "--json"]
    arguments += ["--host", url, "-t", f"{round(seconds)}s", "--skip-log-setup"]
    told = json.loads(output(locust, *arguments))[0]
    assert not told["num_failures"], told
    return float(told["num_requests"] / (told["last_request_timestamp"] - told["start_time"]))


def output(*command: str) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout


def rates(url: str, rounds: int, seconds: float, folder: Path) -> None:
    generators: dict[str, Callable[[], float]] = {
        "desvelo": lambda: desvelo_rate(url, seconds),
        "wrk": lambda: wrk_rate(url, seconds, folder),
        "Locust, one process": lambda: locust_rate(url, seconds, folder),
    }
    seen: dict[str, list[float]] = {name: [] for name in generators}
    for _ in range(rounds):
        for name, generate in generators.items():
            seen[name].append(generate())
    print(f"\nRequests a second, {USERS} users, median of {rounds} rounds of {seconds:g} s\n")
    print("| generator | requests/s | lowest to highest | desvelo is |\n|---|---|---|---|")
    for name, found in seen.items():
        median = statistics.median(found)
        ratio = statistics.median(a / b for a, b in zip(seen["desvelo"], found, strict=True))
        span = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"| {name} | {median:,.0f} | {span} | {ratio:.2f} times |", flush=True)


def desvelo_latency(url: str, rate: float, seconds: float) -> dict[float, float]:
    tally = Tally(accepted, Ledger())
    # As wrk2 does it: every connection sends at its own even pace, and begins 5 ms after the last.
    pace = CONNECTIONS / rate
    lanes = (
        [lane * 0.005 % pace + number * pace for number in range(round(seconds / pace))]
        for lane in range(CONNECTIONS)
    )
    offsets = heapq.merge(*lanes)
    asyncio.run(arrive(Load(url, tally), requests(), list(offsets), CONNECTIONS, CONNECTIONS))
    assert not tally.failed, tally.errors
    times = sorted(tally.times)
    return {at: times[min(len(times) - 1, int(len(times) * at / 100))] for at in PERCENTILES}


def wrk2_latency(
    program: str, url: str, rate: float, seconds: float, folder: Path
) -> dict[float, float]:
    script = folder / "post.lua"
    script.write_text(LUA)
    # It measures itself for ten seconds first, and counts only what comes after.
    told = output(
        program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds + 10:g}s", f"-R{rate:.0f}", "-L",
        "-s", str(script), f"{url}/webhook",
    )  # fmt: skip
    assert "Non-2xx" not in told, told
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    found = re.findall(r"^\s*([\d.]+)%\s+([\d.]+)(us|ms|s|m)$", told, re.MULTILINE)
    known = {float(at): float(value) * units[unit] for at, value, unit in found}
    return {at: known[at] for at in PERCENTILES}


def latencies(program: str, url: str, rounds: int, seconds: float, folder: Path) -> None:
    print(f"\nLatency at three rates, {CONNECTIONS} connections, median of {rounds} rounds\n")
    print("| arrivals/s | percentile | desvelo | wrk2 | ratio | rounds of each differ by |")
    print("|---|---|---|---|---|---|")
    for rate in RATES:
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(desvelo_latency(url, rate, seconds))
            theirs.append(wrk2_latency(program, url, rate, seconds, folder))
        for at in PERCENTILES:
            a, b = [one[at] for one in ours], [one[at] for one in theirs]
            left, right = statistics.median(a), statistics.median(b)
            spans = " and ".join(f"{max(c) / min(c):.2f}" for c in (a, b))
            cells = f"{left * 1000:.2f} ms | {right * 1000:.2f} ms | {left / right:.2f} | {spans}"
            print(f"| {rate:,.0f} | p{at:g} | {cells} times |", flush=True)


def sampling(url: str, pid: int, rounds: int, seconds: float) -> None:
    ratios, costs = [], []
    for number in range(rounds):
        pair = {}
        for sampled in (False, True) if number % 2 else (True, False):
            if sampled:
                with Sampling(pid) as taken:
                    pair[sampled] = desvelo_rate(url, seconds)
                costs.append(taken.cost / taken.samples[-1].at)
            else:
                pair[sampled] = desvelo_rate(url, seconds)
        ratios.append(pair[True] / pair[False])
    print(
        f"\nSampling every 0.5 s: {statistics.median(costs):.2%} of a core; with it the server "
        f"answers {statistics.median(ratios):.3f} times as many requests a second "
        f"(median of {rounds} pairs, {min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def webhook_runs(rounds: int) -> None:
    settings = plan(Wishes(("webhook",), profile="ci"))
    print("\nThe webhook phase on vigia_reference, 1,000 requests, 50 at a time\n")
    print("| with the server's start and the comparison | requests/s | lost | stored twice |")
    print("|---|---|---|---|")
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            context = Context(load_target("vigia_reference"), settings, Path(folder))
            result = webhook.run(context)
            seconds = time.perf_counter() - begin
        found = result.metrics
        cells = f"{found['throughput']} | {found['lost']} | {found['stored_twice']} |"
        print(f"| {seconds:.2f} s | {cells}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--wrk2", help="the program; without it latencies are not compared")
    parser.add_argument("--only-latency", action="store_true")
    chosen = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}")
    if not chosen.only_latency:
        webhook_runs(min(chosen.rounds, 3))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})

    def command(port: int, *options: str) -> list[str]:
        python = ["taskset", "-c", str(cores[0]), sys.executable]
        return [*python, str(SERVER), "--port", str(port), *options]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not chosen.only_latency:
            with own_server(command, folder) as server:
                rates(server.url, chosen.rounds, chosen.seconds, folder)
                sampling(server.url, server.pid, chosen.rounds, chosen.seconds)
        if chosen.wrk2:
            with own_server(lambda port: command(port, *SLOW), folder) as server:
                latencies(chosen.wrk2, server.url, chosen.rounds, chosen.seconds, folder)
    print(f"load average {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
