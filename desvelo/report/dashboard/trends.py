"""How each metric went over the runs of one kind, and where it moved to another level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from desvelo.measure.history.changepoint import change_points
from desvelo.measure.result import Run, Status, with_unit
from desvelo.report.html.charts import Chart, Line, Mark
from desvelo.report.html.phase import readable


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs have to share for their numbers to be comparable."""

    target: str
    profile: str
    machine: str

    @classmethod
    def of(cls, run: Run) -> Kind:
        """Return the kind of a run; the name of its machine does not matter, its make does."""
        make = [run.machine[key] for key in ("cpu", "cores", "system") if key in run.machine]
        return cls(run.target, run.profile, ", ".join(make))

    def __str__(self) -> str:
        on = f", {self.machine}" if self.machine else ""
        return f"{self.target}, profile {self.profile}{on}"


def trends(runs: Sequence[Run], phase: str) -> Iterable[Chart]:
    """Yield a plot for each metric of a phase; ``runs`` are of one kind, oldest first.

    Changes of level are looked for among the runs whose phase passed, as for alarms.
    """
    names: dict[str, str] = {}
    for run in runs:
        result = run.phase(phase)
        for name, metric in result.metrics.items() if result is not None else ():
            names.setdefault(name, metric.unit)
    for name, unit in names.items():
        chart = _trend(runs, phase, name, unit)
        if chart is not None:
            yield chart


def _trend(runs: Sequence[Run], phase: str, name: str, unit: str) -> Chart | None:
    points: list[tuple[Run, float, bool]] = []
    for run in runs:
        result = run.phase(phase)
        metric = result.metrics.get(name) if result is not None else None
        if result is not None and metric is not None and metric.unit == unit:
            points.append((run, metric.value, result.status is Status.PASSED))
    if not points:
        return None
    passed = [index for index, (_, _, good) in enumerate(points) if good]
    levels = [passed[cut] for cut in change_points([points[index][1] for index in passed])]
    lines = []
    if passed:
        lines.append(Line("passed", [value if good else None for _, value, good in points]))
    if len(passed) < len(points):
        lines.append(
            Line("not passed", [None if good else value for _, value, good in points], "points")
        )
    every = range(len(points))
    return Chart(
        f"{phase}: {readable(name)}",
        "runs, oldest first",
        [float(index) for index in every],
        unit,
        lines,
        _told([value for _, value, _ in points], unit, len(levels)),
        scale="even",
        ticks=[(float(index), points[index][0].started[5:10]) for index in every],
        rows=[f"{run.started[:16].replace('T', ' ')} {run.revision}" for run, _, _ in points],
        marks=[Mark(float(index), "new level") for index in levels],
        from_zero=False,
        y_label=readable(name),
    )


def _told(values: Sequence[float], unit: str, levels: int) -> str:
    count = "1 run" if len(values) == 1 else f"{len(values):,} runs"
    moved = {0: "no change of level", 1: "1 change of level"}.get(
        levels, f"{levels} changes of level"
    )
    return f"{count}, now {with_unit(values[-1], unit)}; {moved}."
