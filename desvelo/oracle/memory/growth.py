"""A verdict on a call that is repeated: which lines keep memory each time."""

from __future__ import annotations

import asyncio
import inspect
import linecache
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from desvelo.errors import UsageError
from desvelo.oracle.memory.sampling import Place, Samples, callers, tracing
from desvelo.oracle.memory.trend import LEAST_POINTS, Trend, trend
from desvelo.world.whereabouts import display_path, is_foreign, is_installed

_SAMPLES = 50
"""Looks at the memory, whatever the number of repetitions."""
_LEAST = 40.0
"""Bytes per repetition below which growth is not a leak: less than the smallest object costs."""
_LEAST_OUTSIDE = 2048.0
"""The same for memory that Python did not allocate; a process grows by pages, and unevenly."""
_FRAMES = 12
_MOST_NAMED = 5


@dataclass(frozen=True)
class Site:
    """A line that keeps memory with every repetition."""

    file: str
    line: int
    bytes_per_repetition: float
    interval: tuple[float, float]
    """The confidence interval of the bytes per repetition."""
    called_from: tuple[Place, ...] = ()
    """Lines of the user's own code that led to it, innermost first, when it is not one itself."""

    @property
    def place(self) -> str:
        """Return ``file.py:12``."""
        return f"{display_path(self.file)}:{self.line}"

    def lines(self) -> list[str]:
        """Say it in a few lines."""
        low, high = self.interval
        rate = _bytes(self.bytes_per_repetition)
        said = [f"{self.place} keeps {rate} per repetition (from {_bytes(low)} to {_bytes(high)})"]
        if source := linecache.getline(self.file, self.line).strip():
            said.append(f"  {source}")
        said += [f"  called from {display_path(file)}:{line}" for file, line in self.called_from]
        return said


@dataclass(frozen=True)
class Growth:
    """What a repeated call does to the memory of the process."""

    repetitions: int
    leaks: tuple[Site, ...]
    """Allocation sites that grow to the end, the largest first; empty when there is none."""
    process: Trend | None
    """Growth of the memory that belongs to the process alone (USS, or RSS without psutil)."""
    outside_python: bool
    """The process grows by clearly more than its Python objects do."""
    warm_up: float
    """Repetitions after which the slowest of the leaking sites, or the process, was warm."""

    def __bool__(self) -> bool:
        """Tell whether anything leaks."""
        return bool(self.leaks) or self.outside_python

    def text(self) -> str:
        """Say it, the largest first."""
        if not self:
            return f"no line keeps memory over {self.repetitions} repetitions"
        count = len(self.leaks)
        lines = []
        if count:
            verb = "line keeps" if count == 1 else "lines keep"
            lines.append(f"{count} {verb} memory with every one of {self.repetitions} repetitions:")
            for number, site in enumerate(self.leaks[:_MOST_NAMED], 1):
                first, *rest = site.lines()
                lines.append(f"{number}. {first}")
                lines += [f"   {line}" for line in rest]
            if count > _MOST_NAMED:
                lines.append(f"and {count - _MOST_NAMED} more")
        if self.outside_python and self.process is not None:
            lines.append(
                f"the process grows by {_bytes(self.process.slope)} per repetition, "
                f"at least {_bytes(self.process.low)}: more than Python's objects explain, so a "
                "library in C keeps memory"
            )
        return "\n".join(lines)


def measure_growth(
    call: Callable[[], object] | Callable[[], Awaitable[object]],
    repetitions: int = 200,
    *,
    confidence: float = 0.99,
) -> Growth:
    """Repeat a call and tell which lines keep memory each time.

    Allocations are traced by `tracemalloc`, so a call takes about ten times as long. A cache that
    is full, or a buffer that wraps, after two thirds of the repetitions at the latest is not
    accused; one that is not cannot be told from a leak. An async call is repeated in one event
    loop; inside of a running loop use `measure_growth_in_loop`.

    Args:
        call: What is repeated; it should do the same each time.
        repetitions: How often; a leak of 1 kB each time is found in 200.
        confidence: Of the interval around the bytes per repetition.

    Raises:
        UsageError: For what is no function, too few repetitions, or a loop that runs already.

    >>> kept = []
    >>> growth = measure_growth(lambda: kept.append(bytes(1000)), repetitions=60)
    >>> 1000 <= growth.leaks[0].bytes_per_repetition <= 1200
    True
    >>> measure_growth(lambda: bytes(1000), repetitions=60).leaks
    ()
    """
    _check(call, repetitions, confidence)
    if not _is_async(call):
        samples = Samples()
        with tracing(1):
            for _ in _sampling(samples, repetitions):
                call()
        return _judged(samples, repetitions, confidence, lambda one: _ways(call, repetitions, one))

    async def in_loop() -> Growth:
        return await measure_growth_in_loop(
            call,  # type: ignore[arg-type] # it was looked at
            repetitions,
            confidence=confidence,
        )

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(in_loop())
    raise UsageError(
        "measure_growth: an event loop runs already; use `await measure_growth_in_loop(call)`"
    )


async def measure_growth_in_loop(
    call: Callable[[], Awaitable[object]],
    repetitions: int = 200,
    *,
    confidence: float = 0.99,
) -> Growth:
    """Do as `measure_growth`, in the event loop that runs, where the system under test may live."""
    _check(call, repetitions, confidence)
    samples = Samples()
    with tracing(1):
        for _ in _sampling(samples, repetitions):
            await call()
            # What a call leaves for the loop's next turn, such as closing a transport, is its own.
            await asyncio.sleep(0)
    growth = _judged(samples, repetitions, confidence, lambda sites: dict.fromkeys(sites, ()))
    strangers = [(site.file, site.line) for site in growth.leaks if not _is_own(site.file)]
    if not strangers:
        return growth
    with tracing(_FRAMES):
        for _ in range(_again(repetitions)):
            await call()
            await asyncio.sleep(0)
        ways = {place: _own(callers(place)) for place in strangers}
    leaks = (
        replace(site, called_from=ways.get((site.file, site.line), ())) for site in growth.leaks
    )
    return replace(growth, leaks=tuple(leaks))


def _check(call: Any, repetitions: Any, confidence: Any) -> None:
    if not callable(call):
        raise UsageError(f"measure_growth({call!r}): give a function, which is then called")
    if isinstance(repetitions, bool) or not isinstance(repetitions, int):
        raise UsageError(f"measure_growth(repetitions={repetitions!r}): give a whole number")
    if repetitions < LEAST_POINTS:
        raise UsageError(
            f"measure_growth(repetitions={repetitions}): {LEAST_POINTS} are needed to tell a "
            "trend, and 200 to be sure"
        )
    if not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise UsageError(
            f"measure_growth(confidence={confidence!r}): give a number between 0 and 1"
        )


def _is_async(call: Any) -> bool:
    while hasattr(call, "func"):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - an object whose `__call__` is async
    )


def _sampling(samples: Samples, repetitions: int) -> Iterator[None]:
    """Yield once for each repetition, and look at the memory now and then in between."""
    every = max(repetitions / _SAMPLES, 1.0)
    due = every
    for number in range(1, repetitions + 1):
        yield
        if number >= due - 1e-9:
            samples.take(number)
            due += every


def _judged(
    samples: Samples,
    repetitions: int,
    confidence: float,
    ways: Callable[[list[Place]], dict[Place, tuple[Place, ...]]],
) -> Growth:
    found: list[tuple[Place, Trend]] = []
    least = _LEAST * (repetitions / 3)
    for place in samples.sites:
        sizes = samples.series(place)
        if sizes[-1] - min(sizes) < least:
            continue  # most sites: no trend is worth a look
        judged = trend(samples.times, sizes, confidence)
        if judged is not None and judged.grows(_LEAST):
            found.append((place, judged))
    found.sort(key=lambda one: -one[1].slope)
    process = trend(samples.times, samples.process, confidence)
    traced = [
        sum(sizes.get(index, 0) for sizes in samples.sites.values())
        for index in range(len(samples.times))
    ]
    beyond = [
        all_of_it - ours - tracing
        for all_of_it, ours, tracing in zip(samples.process, traced, samples.tracing, strict=True)
    ]
    outside = trend(samples.times, beyond, confidence)
    strangers = [place for place, _ in found if not _is_own(place[0])]
    led = ways(strangers) if strangers else {}
    return Growth(
        repetitions,
        tuple(
            Site(file, line, one.slope, (one.low, one.high), led.get((file, line), ()))
            for (file, line), one in found
        ),
        process,
        outside is not None and outside.grows(max(_LEAST_OUTSIDE, sum(t.slope for _, t in found))),
        max((one.warm_up for _, one in found), default=process.warm_up if process else 0.0),
    )


def _ways(
    call: Callable[[], object], repetitions: int, places: list[Place]
) -> dict[Place, tuple[Place, ...]]:
    """Repeat the call a little more, slowly, to see who leads to lines that are not the user's."""
    with tracing(_FRAMES):
        for _ in range(_again(repetitions)):
            call()
        return {place: _own(callers(place)) for place in places}


def _again(repetitions: int) -> int:
    return max(repetitions // 10, 3)


def _own(way: list[Place]) -> tuple[Place, ...]:
    return tuple(place for place in way if _is_own(place[0]))


def _is_own(file: str) -> bool:
    return not is_foreign(file) and not is_installed(file)


def _bytes(number: float) -> str:
    """Say a number of bytes.

    >>> _bytes(1024), _bytes(100), _bytes(2_500_000)
    ('1.0 kB', '100 B', '2.4 MB')
    """
    if abs(number) < 1000:
        return f"{number:.0f} B"
    if abs(number) < 1000 * 1024:
        return f"{number / 1024:.1f} kB"
    return f"{number / 1024 / 1024:.1f} MB"
