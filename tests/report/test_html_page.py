import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

from desvelo.measure.result import PhaseResult, Run, Status, with_unit
from desvelo.report.html import page
from desvelo.story.svg import svg
from tests.report.runs import HOSTILE, STORY, full_run, hostile_run

TWO_LINES = """\
  | one             | two |
  | --------------- | --- |
! | a.py:1  raise E |     |
  |   ✗ E           |     |"""
VOID = {"meta", "br", "input", "hr", "wbr"}


class Reader(HTMLParser):
    """Reads a page as a tree would be made of it: which elements, which text, which data."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.data, self.wrong = [], [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open[-1:] == ["script"] and not self.data:
            self.data = data
        elif self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_figure_of_a_run_is_on_its_page():
    run, before = full_run(), full_run(0, 0.9)
    read = Reader(page(run, before))
    text = " ".join(" ".join(read.text).split())
    exact = {one["value"] for one in read.all("data")}
    for name in ("id", "target", "profile", "revision", "command", "reason"):
        assert getattr(run, name) in text, name
    for phase in [*run.phases, *before.phases]:
        for metric in phase.metrics.values():
            assert repr(metric.value) in exact
            assert str(metric) in text
    for phase in run.phases:
        for check in phase.checks:
            assert repr(check.limit) in exact
            assert check.source in text
        for step in phase.steps:
            assert repr(step.throughput) in exact
            assert f"{step.requests:,}" in text
        for sample in phase.samples:
            assert with_unit(sample.rss, "B") in text
        for test in phase.tests:
            assert test.name in "".join(read.text)
            assert test.message in text
        for said in [*phase.problems, *phase.notes, *phase.errors, phase.reason]:
            assert said in text
    assert "20 users (knee)" in text
    assert "p99 doubled" in text
    assert "99.9 %" in text
    places = ["".join(read.text).index(f"test_{name}") for name in ("now", "never", "steady")]
    assert places == sorted(places)  # the flaky one first, then what failed
    data = json.loads(read.data)
    assert set(data) == {one["data-chart"] for one in read.all("div") if "data-chart" in one}
    assert len(data) == 10
    titles = [one["title"] for one in data.values()]
    assert titles[0] == "Response time by percentile"
    knees = [one["marks"] for one in data.values() if one["marks"]]
    assert knees == [[{"at": 20.0, "name": "knee"}]] * 2


def test_a_page_is_one_file_with_headings_in_order_and_a_policy():
    text = page(full_run(), full_run(0))
    read = Reader(text)
    assert not read.wrong
    assert not read.open
    assert len(text.encode()) < 400_000
    for tag, attributes in read.elements:
        assert tag not in {"link", "img", "iframe", "base", "object"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = [one["id"] for _, one in read.elements if "id" in one]
    assert len(names) == len(set(names))
    links = {one["href"][1:] for one in read.all("a")}
    assert links <= set(names)
    policy = next(one["content"] for one in read.all("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "*" not in policy


def test_what_anybody_said_stays_text():
    harmless, read = (
        Reader(page(full_run(), full_run())),
        Reader(page(hostile_run(), hostile_run())),
    )
    assert not read.wrong
    text = page(hostile_run())
    text.encode()
    assert not re.search("[\x00\x1b\u202e\ud800]", text)
    assert "<script>window" not in text
    assert "window.harmed" in text
    assert len(read.all("script")) == len(harmless.all("script")) == 2
    assert not read.all("img")
    assert {name for _, one in read.elements for name in one} <= {
        name for _, one in harmless.elements for name in one
    } | {"textLength".lower()}
    json.loads(read.data)


def test_a_run_of_a_hundred_thousand_requests_with_a_day_of_samples_stays_small():
    run = full_run()
    run.phases[0].samples = run.phases[0].samples * 5
    run.phases *= 4
    assert len(page(run).encode()) < 2_000_000


def test_a_run_that_has_nothing_has_a_page():
    run = Run("r", "", "shop", "quick", Status.FAILED, "no phase was run")
    assert "no phase was run" in page(run)
    run.phases = [PhaseResult("io", Status.INTERRUPTED, "interrupted after 1 s")]
    assert "interrupted after 1 s" in page(run)


def test_a_story_is_drawn_with_the_words_of_its_text():
    drawn = ET.fromstring(svg(STORY))
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        "take_back",
        "order",
        "*",
        "its start is held back",
        "starts",
        ">",
        "starts",
        "lost_update.py:23  stock = self.stock  ➜ 10",
        "… 20 ms later",
        "lost_update.py:29  stock = self.stock | 10",
        "!",
        "then check(): AssertionError: 10 in stock, one sold and one returned, leaves 9",
    ]
    assert svg(TWO_LINES).count('<rect class="failure"') == 2  # both lines of one step
    hostile = STORY.replace("take_back ", "take\x1bback ").replace(
        "its start is held back", "<script>&\x00\x1b[0m\ud800     "
    )
    ET.fromstring(svg(hostile))
    assert not svg(HOSTILE)
