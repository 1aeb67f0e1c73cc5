"""The page of one run."""

from __future__ import annotations

from collections.abc import Iterator

from desvelo.measure.result import Comparison, FoundFailure, Run, Status, with_unit
from desvelo.report.html.document import Plots, document, moment
from desvelo.report.html.markup import Html, element, join, table
from desvelo.report.html.phase import badge, exact, phase_section, readable
from desvelo.report.screen import COLUMNS
from desvelo.story.svg import svg

_VERDICTS = ("worse", "better", "same", "unknown")


def page(run: Run, before: Run | None = None, *, home: str = "") -> str:
    """Return a run as one HTML page that needs no network.

    The numbers of ``before``, an earlier run of the same kind, stand beside those of the run.
    ``home`` is the address of the dashboard, when it is that which shows the page.
    """
    plots = Plots()
    main = join(_sections(run, before, plots))
    return document(
        f"{run.target} {run.status}: run {run.id}", main, plots, navigation=_navigation(run, home)
    )


def _sections(run: Run, before: Run | None, plots: Plots) -> Iterator[Html]:
    yield _header(run, before)
    if run.phases:
        yield _section("phases", "Phases", _phases(run))
    if any(phase.checks for phase in run.phases):
        yield _section("thresholds", "Thresholds", _thresholds(run))
    if run.comparisons:
        yield _section("comparisons", "Compared with earlier runs", *_comparisons(run))
    if run.findings:
        findings = [finding_article(number, found) for number, found in enumerate(run.findings, 1)]
        yield _section("findings", "Findings", *findings)
    earlier = {one.phase: one for one in before.phases} if before is not None else {}
    for number, phase in enumerate(run.phases, 1):
        yield phase_section(number, phase, earlier.get(phase.phase), plots)


def _section(name: str, title: str, *content: str | None) -> Html:
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *content, id=name, aria_labelledby=f"{name}-title")


def _navigation(run: Run, home: str) -> Html:
    links = [("phases", "Phases")] if run.phases else []
    if any(phase.checks for phase in run.phases):
        links.append(("thresholds", "Thresholds"))
    if run.comparisons:
        links.append(("comparisons", "Comparisons"))
    if run.findings:
        links.append(("findings", "Findings"))
    inside = [element("a", title, href=f"#{name}") for name, title in links]
    return join([element("a", "All runs", href=home) if home else None, *inside])


def _header(run: Run, before: Run | None) -> Html:
    facts: list[tuple[str, str]] = [
        ("Run", run.id),
        ("Started", moment(run.started)),
        ("Took", with_unit(run.seconds, "s")),
        ("Profile", run.profile),
        ("Revision", run.revision or "unknown"),
        ("Command", element("code", run.command) if run.command else "unknown"),
        ("Machine", ", ".join(f"{key} {value}" for key, value in run.machine.items())),
        ("Versions", ", ".join(f"{key} {value}" for key, value in run.versions.items())),
    ]
    if before is not None:
        since = f", revision {before.revision}" if before.revision else ""
        facts.append(("Run before", join([f"{before.id}{since}, ", moment(before.started)])))
    return join(
        [
            element("h1", run.target, " ", badge(run.status)),
            element("p", run.reason, class_="reason") if run.reason else None,
            element(
                "dl",
                *(
                    element("div", element("dt", name), element("dd", said))
                    for name, said in facts
                    if said
                ),
                class_="facts",
            ),
        ]
    )


def _phases(run: Run) -> Html:
    rows = [
        [
            element("a", phase.phase, href=f"#phase-{number}"),
            badge(phase.status),
            with_unit(phase.seconds, "s") if phase.seconds else "–",
            *(str(phase.metrics.get(name, "–")) for name in COLUMNS.values()),
            phase.reason,
        ]
        for number, phase in enumerate(run.phases, 1)
    ]
    heads = ["phase", "result", "time", *COLUMNS, "why"]
    return table("The phases and how each ended", heads, rows, numbers=range(2, len(heads) - 1))


def _thresholds(run: Run) -> Html:
    rows: list[list[str]] = []
    broken: list[int] = []
    for phase in run.phases:
        for check in phase.checks:
            if not check.passed:
                broken.append(len(rows))
            measured = "not measured" if check.value is None else exact(check.value, check.unit)
            rows.append(
                [
                    f"{phase.phase}: {readable(check.metric)}",
                    measured,
                    join([f"{check.bound} ", exact(check.limit, check.unit)]),
                    badge(Status.PASSED if check.passed else Status.FAILED),
                    check.source,
                ]
            )
    held = f"{len(rows) - len(broken)} of {len(rows)} hold."
    return join(
        [
            element("p", held),
            table(
                "Each threshold and what was measured",
                ["threshold", "measured", "limit", "result", "from"],
                rows,
                numbers=[1, 2],
                marked=broken,
            ),
        ]
    )


def _comparisons(run: Run) -> list[Html]:
    ranked = sorted(
        run.comparisons,
        key=lambda one: _VERDICTS.index(one.verdict) if one.verdict in _VERDICTS else 0,
    )
    known = [one for one in ranked if one.verdict != "unknown"]
    new = [one for one in ranked if one.verdict == "unknown"]
    parts = [_compared("Metrics against their own past", known)] if known else []
    if new:
        said = f"Not judged yet for want of earlier runs: {len(new)}"
        parts.append(
            element("details", element("summary", said), _compared("Not judged yet", new))
            if known
            else join([element("p", f"{said}."), _compared("Not judged yet", new)])
        )
    return parts


def _compared(caption: str, comparisons: list[Comparison]) -> Html:
    rows = [
        [
            f"{one.phase}: {readable(one.metric)}",
            element("span", one.verdict, class_=f"badge {_known_verdict(one)}"),
            exact(one.before, one.unit) if one.runs else "–",
            exact(one.now, one.unit),
            f"{one.change:+.1%}".replace("%", " %") if one.runs else "–",
            f"{one.confidence:.1%}".replace("%", " %") if one.runs else "–",
            f"{one.runs:,}",
            one.sentence,
        ]
        for one in comparisons
    ]
    return table(
        caption,
        ["metric", "verdict", "before", "now", "change", "confidence", "runs", "in words"],
        rows,
        numbers=range(2, 7),
        marked=[index for index, one in enumerate(comparisons) if one.verdict == "worse"],
    )


def _known_verdict(one: Comparison) -> str:
    return one.verdict if one.verdict in _VERDICTS else "unknown"


def finding_article(number: int, found: FoundFailure) -> Html:
    """Return a finding with its story, drawn and as text.

    The drawing is made anew from the story: one that came with a file could be anything.
    """
    drawing = svg(found.story)
    told = element("pre", found.story, tabindex="0", role="region", aria_label="Story as text")
    return element(
        "article",
        element("h3", f"{number}. {found.title}"),
        element("p", "Again: ", element("code", found.replay or found.file))
        if found.replay or found.file
        else None,
        element(
            "div",
            Html(drawing),
            class_="scroll story",
            tabindex="0",
            role="region",
            aria_label=f"Story of finding {number}",
        )
        if drawing
        else told,
        element("details", element("summary", f"Story of finding {number} as text"), told)
        if drawing
        else None,
        id=f"finding-{number}",
    )
