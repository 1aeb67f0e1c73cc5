"""Plots: the numbers for the chart library, and the same as a table for whoever reads no plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from desvelo.measure.result import with_unit
from desvelo.report.html.markup import Html, element, table

Number = float | None

_SCALES = {
    "B": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "share": ((0.01, "%"),),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: a value, or None, for each place on the x axis."""

    name: str
    values: Sequence[Number]
    style: str = "line"
    """``line``, ``dashed`` or ``points``."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line, and what stands beside it."""

    at: float
    name: str


@dataclass(slots=True)
class Chart:
    """One plot.

    ``scale`` of the x axis is ``linear``, ``log`` or ``even``; ``ticks`` are the places that are
    labelled there, all of ``x`` without it. ``rows`` name each x for readers of the table.
    """

    title: str
    x_label: str
    x: Sequence[float]
    unit: str
    lines: list[Line]
    summary: str
    """What a reader sees in the plot, in a sentence."""
    scale: str = "linear"
    ticks: Sequence[tuple[float, str]] = ()
    rows: Sequence[str] = ()
    marks: list[Mark] = field(default_factory=list)
    from_zero: bool = True
    y_label: str = ""

    def data(self) -> dict[str, Any]:
        """Return what the page's script draws."""
        known = [value for line in self.lines for value in line.values if value is not None]
        divisor, unit = scaled(self.unit, max(known, key=abs, default=0.0))
        return {
            "title": self.title,
            "xLabel": self.x_label,
            "yLabel": f"{self.y_label or self.title} ({unit})" if unit else self.y_label,
            "unit": unit,
            "x": list(self.x),
            "scale": self.scale,
            "ticks": [list(tick) for tick in self.ticks],
            "names": list(self._names()),
            "fromZero": self.from_zero,
            "marks": [{"at": mark.at, "name": mark.name} for mark in self.marks],
            "lines": [
                {
                    "name": line.name,
                    "style": line.style,
                    "values": [_rounded(value, divisor) for value in line.values],
                    "said": [_said(value, self.unit) for value in line.values],
                }
                for line in self.lines
            ],
        }

    def figure(self, name: str) -> Html:
        """Return the place of the plot and its table; ``name`` is the key of its data."""
        marked = {mark.at: mark.name for mark in self.marks}
        rows = [
            [
                f"{said} ({marked[at]})" if at in marked else said,
                *(_said(line.values[index], self.unit) for line in self.lines),
            ]
            for index, (at, said) in enumerate(zip(self.x, self._names(), strict=True))
        ]
        numbers = table(
            f"{self.title}: the numbers",
            [self.x_label, *(line.name for line in self.lines)],
            rows,
            numbers=range(1, len(self.lines) + 1),
            noted=[index for index, at in enumerate(self.x) if at in marked],
        )
        return element(
            "figure",
            element("figcaption", element("strong", self.title), " ", self.summary),
            element(
                "div",
                class_="plot",
                data_chart=name,
                role="img",
                tabindex="0",
                aria_label=f"Plot: {self.title}. {self.summary} Left and right arrow read points.",
            ),
            element("p", "\u00a0", class_="readout", aria_live="polite"),
            element("details", element("summary", f"Numbers: {self.title}"), numbers),
            class_="chart",
        )

    def _names(self) -> Sequence[str]:
        return self.rows or [f"{at:g}" for at in self.x]


def scaled(unit: str, largest: float) -> tuple[float, str]:
    """Return by what a unit is divided so that its numbers can be read on an axis.

    >>> scaled("B", 50_000_000), scaled("s", 0.02), scaled("1/s", 5)
    ((1048576, 'MiB'), (0.001, 'ms'), (1, 'per second'))
    """
    scales = _SCALES.get(unit, ((1, "per second" if unit == "1/s" else unit),))
    return next((one for one in scales if abs(largest) >= one[0]), scales[-1])


def on_percentile_axis(percentile: float, count: int) -> float:
    """Return the place of a percentile on an axis that gives each nine the same room.

    The maximum of ``count`` values has no place there; it stands a little behind what they can
    tell, and behind 99.9.

    >>> [round(on_percentile_axis(p, 1000), 2) for p in (0, 50, 90, 99, 99.9, 100)]
    [0.0, 0.3, 1.0, 2.0, 3.0, 3.3]
    """
    if percentile >= 100:
        return max(math.log10(max(count, 1)), 3.0) + 0.3
    return abs(math.log10(1 - percentile / 100))


def _rounded(value: Number, divisor: float) -> Number:
    return None if value is None else float(f"{value / divisor:.6g}")


def _said(value: Number, unit: str) -> str:
    return "–" if value is None else with_unit(value, unit)
