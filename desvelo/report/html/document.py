"""The frame of every page: style, script and data in the one file, and nothing else let in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from desvelo.report.html.charts import Chart
from desvelo.report.html.markup import Html, element, join, text

_STYLES = ("vendor/uPlot.min.css", "page.css")
_SCRIPTS = ("vendor/uPlot.iife.min.js", "page.js")


class Plots:
    """The plots of a page, each under a name of its own."""

    def __init__(self) -> None:
        self._charts: dict[str, Chart] = {}

    def add(self, chart: Chart | None) -> Html | None:
        """Return the figure of a plot, whose numbers go with the page; nothing for none."""
        if chart is None or not chart.x:
            return None
        name = f"plot-{len(self._charts)}"
        self._charts[name] = chart
        return chart.figure(name)

    def data(self) -> dict[str, Any]:
        """Return the numbers of all plots by name."""
        return {name: chart.data() for name, chart in self._charts.items()}


def document(
    title: str,
    main: Html,
    plots: Plots,
    *,
    navigation: Html | None = None,
    forms: bool = False,
) -> str:
    """Return a whole page.

    Its policy lets only the script and the style run that it was made with: whatever a payload
    says, and even if it became markup, no script of its own runs and nothing is loaded. With
    ``forms`` it may send a form back to where it is from.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(forms=forms)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Html(_styles())),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element(
            "header",
            element("nav", navigation, aria_label="Page") if navigation else element("span"),
            element("button", "Theme", type="button", id="theme", hidden=True),
            class_="bar",
        ),
        element("main", main, id="main", tabindex="-1"),
        element("script", Html(as_data(plots.data())), type="application/json", id="plots"),
        element("script", Html(_scripts())),
    )
    return str(join([Html("<!doctype html>\n"), element("html", head, body, lang="en"), "\n"]))


def policy(*, forms: bool = False) -> str:
    """Return the content security policy of a page."""
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_digest(_scripts())}'",
        "style-src": f"'sha256-{_digest(_styles())}'",
        "base-uri": "'none'",
        "form-action": "'self'" if forms else "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def as_data(values: Mapping[str, Any]) -> str:
    r"""Return JSON that can stand in a page: nothing in it ends the element that it stands in.

    >>> as_data({"a": "</script><!-- & \u2028"})
    '{"a": "\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028"}'
    """
    written = json.dumps(values, allow_nan=False)  # ASCII only: U+2028 is escaped by that
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return written


def moment(iso: str) -> Html:
    """Return a time in UTC as people read it.

    >>> moment("2026-01-02T03:04:05.678+00:00")
    '<time datetime="2026-01-02T03:04:05.678+00:00">2026-01-02 03:04:05 UTC</time>'
    >>> moment("yesterday")
    'yesterday'
    """
    try:
        at = datetime.fromisoformat(iso).astimezone(UTC)
    except (ValueError, OverflowError):
        return text(iso)
    return element("time", f"{at:%Y-%m-%d %H:%M:%S} UTC", datetime=iso)


@cache
def _styles() -> str:
    return "\n".join(_asset(name) for name in _STYLES)


@cache
def _scripts() -> str:
    return "\n".join(_asset(name) for name in _SCRIPTS)


def _asset(name: str) -> str:
    return files("desvelo.report.html").joinpath(name).read_text(encoding="utf-8")


def _digest(said: str) -> str:
    return base64.b64encode(hashlib.sha256(said.encode()).digest()).decode()
