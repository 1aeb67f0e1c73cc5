"""The pages of the dashboard: all runs, and the trends of one kind of run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from desvelo.measure.result import Run, Status, with_unit
from desvelo.report.dashboard.trends import Kind, trends
from desvelo.report.html.document import Plots, document, moment
from desvelo.report.html.markup import Html, element, join, table
from desvelo.report.html.phase import badge

_ANY = ""


def overview(runs: Sequence[Run], wanted: Mapping[str, str], limit: int) -> str:
    """Return the page of all runs, newest first, of a target and a profile when named."""
    shown = [
        run
        for run in runs
        if wanted.get("target", _ANY) in (_ANY, run.target)
        and wanted.get("profile", _ANY) in (_ANY, run.profile)
        and wanted.get("status", _ANY) in (_ANY, run.status)
    ]
    form = element(
        "form",
        _select("target", "Target", (run.target for run in runs), wanted),
        _select("profile", "Profile", (run.profile for run in runs), wanted),
        _select("status", "Result", [str(one) for one in Status], wanted),
        element("button", "Show", type="submit"),
        action="/",
        aria_label="Which runs",
    )
    older = f", the latest {limit:,} of the history" if len(runs) >= limit else ""
    main = join(
        [
            element("h1", "Runs"),
            form,
            element("p", f"{len(shown):,} of {len(runs):,} runs{older}.", class_="quiet"),
            _runs(shown) if shown else None,
            _findings(shown),
        ]
    )
    return document("Runs", main, Plots(), navigation=navigation(), forms=True)


def trends_page(runs: Sequence[Run], wanted: Mapping[str, str]) -> str:
    """Return the trends of one kind of run: that of the newest one, unless another is named."""
    kinds = list(dict.fromkeys(Kind.of(run) for run in runs))
    if not kinds:
        return message("Trends", "The history has no run yet; `desvelo run` makes one.")
    names = {str(kind): kind for kind in kinds}
    kind = names.get(wanted.get("kind", _ANY), kinds[0])
    alike = [run for run in reversed(runs) if Kind.of(run) == kind]
    phases = list(dict.fromkeys(phase.phase for run in alike for phase in run.phases))
    measured = [name for name in phases if any(_measured(run, name) for run in alike)]
    chosen = [name for name in measured if wanted.get("phase", _ANY) in (_ANY, name)]
    plots = Plots()
    form = element(
        "form",
        _select("kind", "Kind of run", names, {"kind": str(kind)}, any_of_them=False),
        _select("phase", "Phase", measured, wanted),
        element("button", "Show", type="submit"),
        action="/trends",
        aria_label="Which trends",
    )
    sections = [
        element(
            "section",
            element("h2", f"Phase {name}"),
            element("div", *map(plots.add, trends(alike, name)), class_="charts"),
        )
        for name in chosen
    ]
    main = join(
        [
            element("h1", "Trends"),
            form,
            element("p", f"{kind}: {len(alike):,} runs.", class_="quiet"),
            *sections,
        ]
    )
    return document("Trends", main, plots, navigation=navigation(), forms=True)


def message(title: str, said: str) -> str:
    """Return a page that only says something."""
    main = join([element("h1", title), element("p", said)])
    return document(title, main, Plots(), navigation=navigation())


def navigation() -> Html:
    """Return the links that every page of the dashboard has."""
    return join([element("a", "All runs", href="/"), element("a", "Trends", href="/trends")])


def run_address(run: Run) -> str:
    """Return where a run is shown."""
    return f"/runs/{quote(run.id, safe='')}"


def _measured(run: Run, name: str) -> bool:
    result = run.phase(name)
    return result is not None and bool(result.metrics)


def _select(
    name: str,
    label: str,
    choices: Iterable[str],
    wanted: Mapping[str, str],
    *,
    any_of_them: bool = True,
) -> Html:
    values = list(dict.fromkeys(choices))
    options = [element("option", "any", value=_ANY)] if any_of_them else []
    options += [
        element("option", value, value=value, selected=value == wanted.get(name))
        for value in values
    ]
    return element("label", label, element("select", *options, name=name))


def _runs(runs: Sequence[Run]) -> Html:
    rows = [
        [
            element("a", moment(run.started), href=run_address(run)),
            badge(run.status),
            run.target,
            run.profile,
            run.revision,
            with_unit(run.seconds, "s"),
            ", ".join(phase.phase for phase in run.phases),
            str(_worse(run) or "–"),
            str(len(run.findings) or "–"),
            run.reason,
        ]
        for run in runs
    ]
    numbers = ["worse", "findings"]
    heads = [
        "started",
        "result",
        "target",
        "profile",
        "revision",
        "time",
        "phases",
        *numbers,
        "why",
    ]
    return table("Runs, newest first", heads, rows, numbers=[5, 7, 8])


def _worse(run: Run) -> int:
    return sum(one.verdict == "worse" for one in run.comparisons)


def _findings(runs: Sequence[Run]) -> Html | None:
    rows = [
        [
            element("a", found.title, href=f"{run_address(run)}#finding-{number}"),
            found.kind,
            moment(run.started),
            element("code", found.replay or found.file),
        ]
        for run in runs
        for number, found in enumerate(run.findings, 1)
    ]
    if not rows:
        return None
    heads = ["finding", "kind", "found", "again"]
    return element(
        "section", element("h2", "Findings"), table("Findings, newest first", heads, rows)
    )
