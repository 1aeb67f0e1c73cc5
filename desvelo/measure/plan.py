"""The settings of a run: which phases, with which numbers, against what."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from desvelo.errors import UsageError
from desvelo.servers.lookup import is_loopback

FULL_SYSTEM = "full-system"
PHASES = ("baseline", "load", "endurance", "memory", "io", "database", "webhook")
"""In the order of a full run."""


@dataclass(frozen=True, slots=True)
class Load:
    """More and more users, then arrivals at fixed rates, then the test suite in parallel."""

    users: tuple[int, ...]
    """Closed loop: so many users at once, one step after the other."""
    seconds: float
    """How long each step of users or arrivals lasts."""
    rates: tuple[float, ...] = ()
    """Open loop: arrivals per second; empty for shares of the knee."""
    workers: tuple[int, ...] = ()
    """Worker processes of the test suite, one run after the other."""
    maxfail: tuple[int, ...] = ()
    """Failures after which a run of the suite is given up, one for each of ``workers``."""
    most: int = 1000
    """While throughput grows there are more users than was planned, but never more than these."""


@dataclass(frozen=True, slots=True)
class Endurance:
    """Tests again and again."""

    times: int
    """Repetitions of the messaging tests, or of the tests that were named."""
    images: int
    """Repetitions of the image tests."""
    seconds: float = 0.0
    """Repeat for so long instead; 0 for ``times``."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Many requests, then what was stored against what was acknowledged."""

    requests: int
    concurrency: int
    rate: float = 0.0
    """Arrivals per second; 0 for as fast as ``concurrency`` allows."""


@dataclass(frozen=True, slots=True)
class Database:
    """Threads that repeat the three operations."""

    threads: int
    iterations: int
    backends: tuple[str, ...] = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Memory:
    """Repetitions, with the target's own processes sampled."""

    repetitions: int
    every: float
    """Seconds between two samples."""


@dataclass(frozen=True, slots=True)
class Io:
    """The image pipeline over files."""

    workers: int
    images: int
    """Images of each worker."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole run, checked."""

    target: str = "vigia_reference"
    profile: str = "quick"
    phases: tuple[str, ...] = PHASES
    full_system: bool = True
    """Whether a failed baseline ends the run."""
    url: str = ""
    """A live server; empty for one of the run's own."""
    port: int = 0
    """The port of the run's own server; 0 for a free one."""
    seed: int = 1
    tests: tuple[str, ...] = ()
    """pytest arguments that stand for the target's own checks."""
    against: str = ""
    """A Git revision that the code is compared with, in turns; empty for none."""
    load: Load = field(default_factory=lambda: PROFILES["quick"].load)
    endurance: Endurance = field(default_factory=lambda: PROFILES["quick"].endurance)
    webhook: Webhook = field(default_factory=lambda: PROFILES["quick"].webhook)
    database: Database = field(default_factory=lambda: PROFILES["quick"].database)
    memory: Memory = field(default_factory=lambda: PROFILES["quick"].memory)
    io: Io = field(default_factory=lambda: PROFILES["quick"].io)

    @property
    def all_phases(self) -> tuple[str, ...]:
        """The phases, and the comparison with a revision behind them."""
        return (*self.phases, "against") if self.against else self.phases


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one profile."""

    load: Load
    endurance: Endurance
    webhook: Webhook
    database: Database
    memory: Memory
    io: Io


PROFILES: dict[str, Numbers] = {
    "quick": Numbers(
        load=Load(users=(1, 2, 5, 10, 20), seconds=0.7, workers=(2,), maxfail=(5,)),
        endurance=Endurance(times=3, images=2),
        webhook=Webhook(requests=200, concurrency=20),
        database=Database(threads=5, iterations=10),
        memory=Memory(repetitions=4, every=0.1),
        io=Io(workers=2, images=15),
    ),
    "ci": Numbers(
        load=Load(users=(1, 2, 5, 10, 20, 50), seconds=3.0, workers=(10, 20), maxfail=(5, 10)),
        endurance=Endurance(times=100, images=50),
        webhook=Webhook(requests=1000, concurrency=50),
        database=Database(threads=20, iterations=50),
        memory=Memory(repetitions=20, every=0.5),
        io=Io(workers=10, images=100),
    ),
    "nightly": Numbers(
        load=Load(
            users=(1, 2, 5, 10, 20, 50, 100, 200), seconds=15.0, workers=(10, 20), maxfail=(5, 10)
        ),
        endurance=Endurance(times=300, images=150),
        webhook=Webhook(requests=20_000, concurrency=50),
        database=Database(threads=20, iterations=250),
        memory=Memory(repetitions=100, every=1.0),
        io=Io(workers=10, images=500),
    ),
}
"""``ci`` has the numbers of Vigía's strategy document, ``nightly`` more of each, ``quick`` few."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; None is not asked for."""

    phases: tuple[str, ...] = ()
    profile: str = "quick"
    target: str = "vigia_reference"
    url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    port: int | None = None
    requests: int | None = None
    concurrency: int | None = None
    rate: float | None = None
    users: int | None = None
    times: int | None = None
    seconds: float | None = None
    workers: int | None = None
    maxfail: int | None = None
    tests: tuple[str, ...] = ()
    seed: int | None = None
    against: str | None = None


def plan(wishes: Wishes) -> Settings:
    """Return the settings of a run; raises `UsageError` that names the wish and what is possible.

    >>> plan(Wishes(("webhook",), requests=50, concurrency=80)).webhook
    Webhook(requests=50, concurrency=50, rate=0.0)
    >>> plan(Wishes(("webhok",)))
    Traceback (most recent call last):
        ...
    desvelo.errors.UsageError: no phase is called 'webhok'; did you mean 'webhook'? \
(baseline, load, endurance, memory, io, database, webhook, full-system)
    """
    _check_numbers(wishes)
    numbers = _profile(wishes.profile)
    full = not wishes.phases or FULL_SYSTEM in wishes.phases
    return Settings(
        target=wishes.target,
        profile=wishes.profile,
        phases=_phases(wishes.phases),
        full_system=full,
        url=_server_url(wishes) if wishes.url is not None else "",
        port=wishes.port or 0,
        seed=1 if wishes.seed is None else wishes.seed,
        tests=wishes.tests,
        against=wishes.against or "",
        load=_load(numbers.load, wishes),
        endurance=replace(
            numbers.endurance,
            times=wishes.times or numbers.endurance.times,
            images=wishes.times or numbers.endurance.images,
            seconds=wishes.seconds or 0.0,
        ),
        webhook=_webhook(numbers.webhook, wishes),
        database=replace(numbers.database, threads=wishes.workers or numbers.database.threads),
        memory=replace(numbers.memory, repetitions=wishes.times or numbers.memory.repetitions),
        io=replace(numbers.io, workers=wishes.workers or numbers.io.workers),
    )


def _phases(named: tuple[str, ...]) -> tuple[str, ...]:
    for name in named:
        nearest_of(name, (*PHASES, FULL_SYSTEM), "phase")
    if not named or FULL_SYSTEM in named:
        return PHASES
    return tuple(name for name in PHASES if name in named)


def _profile(name: str) -> Numbers:
    return PROFILES[nearest_of(name, PROFILES, "profile")]


def _load(numbers: Load, wishes: Wishes) -> Load:
    users = numbers.users
    if wishes.users is not None:
        ramp = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
        users = (*(step for step in ramp if step < wishes.users), wishes.users)
    workers = numbers.workers if wishes.workers is None else (wishes.workers,)
    maxfail = numbers.maxfail[: len(workers)]
    return replace(
        numbers,
        users=users,
        most=wishes.users or numbers.most,
        rates=() if wishes.rate is None else (wishes.rate,),
        seconds=wishes.seconds or numbers.seconds,
        workers=workers,
        maxfail=maxfail if wishes.maxfail is None else (wishes.maxfail,) * len(workers),
    )


def _webhook(numbers: Webhook, wishes: Wishes) -> Webhook:
    requests = wishes.requests or numbers.requests
    concurrency = wishes.concurrency or numbers.concurrency
    return Webhook(requests, min(concurrency, requests), wishes.rate or 0.0)


def _check_numbers(wishes: Wishes) -> None:
    for one in fields(wishes):
        value = getattr(wishes, one.name)
        if one.name in {"seed", "port"} or not isinstance(value, int | float):
            continue
        if not 0 < value < 10**9:
            option = "--for" if one.name == "seconds" else f"--{one.name}"
            raise UsageError(
                f"{option} is {value:g}; it must be more than 0"
                + (", for a phase that ran nothing has shown nothing" if value == 0 else "")
            )
    if wishes.port is not None and not 0 < wishes.port < 65536:
        raise UsageError(f"--port is {wishes.port}; a port is a number from 1 to 65535")
    if wishes.port is not None and wishes.url is not None:
        raise UsageError("--port is that of the run's own server; with --url there is none")


def _server_url(wishes: Wishes) -> str:
    url = checked_url(wishes.url or "", wishes.allowed_hosts)
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise UsageError("--url: the address of a server has no '?' or '#'; leave that part out")
    return url


def checked_url(url: str, allowed: Iterable[str], option: str = "--url") -> str:
    """Return a URL without its last slash; raises `UsageError` for a host that is not allowed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"{option}: {url!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise UsageError(f"{option}: {url!r} is not a URL such as http://127.0.0.1:8000")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{option}: a name and password in a URL would be kept in reports; the target takes "
            "its key from the environment"
        )
    if not is_loopback(host) and host not in {name.lower() for name in allowed}:
        raise UsageError(
            f"{option}: {host} is not this machine; anything is sent elsewhere only with "
            f"--allow-host {host}, by whoever may decide that"
        )
    return url.rstrip("/")


def nearest_of(name: str, known: Iterable[str], what: str, where: str = "") -> str:
    """Return ``name`` when it is known; raises `UsageError` with the nearest one otherwise."""
    names = list(known)
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"{where}no {what} is called {name!r}{hint} ({', '.join(names)})")


def existing_file(option: str, path: Path) -> Path:
    """Return the path of a file; raises `UsageError` that names the option when there is none."""
    if not path.is_file():
        raise UsageError(f"{option}: there is no file {path}")
    return path
