"""The metrics that a threshold can be set for, and which phase has to measure which."""

from __future__ import annotations

from dataclasses import dataclass

AT_LEAST, AT_MOST = "at least", "at most"


@dataclass(frozen=True, slots=True)
class Known:
    """A metric: its unit, on which side of the limit it has to stay, and what it means."""

    unit: str
    bound: str
    meaning: str


METRICS = {
    "success_rate": Known("share", AT_LEAST, "tests, requests or operations that went well"),
    "error_rate": Known("share", AT_MOST, "tests, requests or operations that went wrong"),
    "response_time": Known("s", AT_MOST, "the slowest single test, request or operation"),
    "throughput": Known("1/s", AT_LEAST, "tests, requests, operations or images a second"),
    "tests_success_rate": Known("share", AT_LEAST, "tests that passed, by several workers"),
    "tests_error_rate": Known("share", AT_MOST, "tests that failed, by several workers"),
    "tests_response_time": Known("s", AT_MOST, "the slowest test, by several workers"),
    "tests_throughput": Known("1/s", AT_LEAST, "tests a second, by several workers"),
    "memory": Known("B", AT_MOST, "most resident memory of the target's own processes together"),
    "memory_growth": Known("B", AT_MOST, "how much that memory grew over the phase"),
    "fds_growth": Known("", AT_MOST, "file descriptors that came and did not go"),
    "threads_growth": Known("", AT_MOST, "threads that came and did not go"),
    "latency_p50": Known("s", AT_MOST, "half of the answers took no longer"),
    "latency_p95": Known("s", AT_MOST, "95 % of the answers took no longer"),
    "latency_p99": Known("s", AT_MOST, "99 % of the answers took no longer"),
    "latency_p999": Known("s", AT_MOST, "99.9 % of the answers took no longer"),
    "cpu": Known(
        "cores", AT_MOST, "processor cores that the target's own processes used on average"
    ),
    "cpu_per_request": Known(
        "s", AT_MOST, "processor time of the target's own processes for one request"
    ),
    "conflicts": Known("", AT_MOST, "database transactions that were refused and run again"),
}

_RATES = frozenset({"success_rate", "error_rate", "response_time", "throughput"})
_TESTS = frozenset(f"tests_{name}" for name in _RATES)
_LATENCIES = frozenset({"latency_p50", "latency_p95", "latency_p99", "latency_p999"})
_GROWTH = frozenset({"memory_growth", "fds_growth", "threads_growth"})
MEASURED = {
    "baseline": _RATES,
    "load": _RATES | _TESTS | _LATENCIES | {"memory", "cpu_per_request"},
    "endurance": _RATES,
    "memory": _GROWTH
    | {"success_rate", "error_rate", "response_time", "memory", "cpu", "cpu_per_request"},
    "io": _RATES | _LATENCIES | {"memory"},
    "database": _RATES | _LATENCIES | {"conflicts"},
    "webhook": _RATES | _LATENCIES | {"memory", "cpu_per_request"},
}
"""What each phase has to measure; a limit for one of these that was not measured is broken."""

NOT_OF_A_LIVE_SERVER = _TESTS | _GROWTH | {"memory", "cpu", "cpu_per_request"}
"""Its processes may be anywhere, and the target's tests do not run against it."""
