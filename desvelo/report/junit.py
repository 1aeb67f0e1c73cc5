"""A run as JUnit XML, for the test pages of CI systems.

One suite for each phase, with the metrics as its properties; in it a test case for the phase
itself, one for each threshold, and one for each test of the target's own. Only the elements and
attributes that Jenkins, GitLab and GitHub's reporters share are used.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from desvelo.measure.result import Check, PhaseResult, Run, Status, TestRecord, with_unit

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> str:
    """Return the document.

    >>> run = Run("r1", "2026-01-01T00:00:00+00:00", "vigia_reference", "quick")
    >>> run.phases.append(PhaseResult("webhook", started=run.started))
    >>> print(junit(run).splitlines()[1])
    <testsuites name="desvelo" tests="1" failures="0" errors="0" time="0.000">
    """
    suites = [_suite(phase, run) for phase in run.phases]
    if run.comparisons:
        suites.append(_regressions(run))
    root = ET.Element("testsuites", {"name": "desvelo"})
    for count in ("tests", "failures", "errors"):  # Jenkins knows no count of skipped ones here
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", _seconds(run.seconds))
    root.extend(suites)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(phase: PhaseResult, run: Run) -> ET.Element:
    properties = {
        "target": run.target,
        "profile": run.profile,
        "revision": run.revision,
        "run": run.id,
        **{name: repr(metric.value) for name, metric in phase.metrics.items()},
        **{f"{name}.unit": metric.unit for name, metric in phase.metrics.items() if metric.unit},
    }
    name = f"desvelo.{phase.phase}"
    cases = [_phase_case(phase, name)]
    cases += [_check_case(check, f"{name}.thresholds") for check in phase.checks]
    cases += [_test_case(test, f"{name}.tests") for test in phase.tests]
    return _with_counts(name, phase.started, phase.seconds, properties, cases)


def _regressions(run: Run) -> ET.Element:
    cases = []
    for one in run.comparisons:
        case = _case("desvelo.regression", f"{one.phase}: {one.metric}")
        if one.verdict == "worse":
            _add(case, "failure", one.sentence, "regression")
        elif one.verdict == "unknown":
            _add(case, "skipped", one.sentence)
        cases.append(case)
    return _with_counts("desvelo.regression", run.started, 0.0, {}, cases)


def _with_counts(
    name: str, started: str, seconds: float, properties: dict[str, str], cases: list[ET.Element]
) -> ET.Element:
    suite = ET.Element("testsuite", {"name": name, "tests": str(len(cases))})
    for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", _seconds(seconds))
    if started:
        # Readers want whole seconds and no offset; the times of a run are UTC.
        suite.set("timestamp", started[:19])
    if properties:
        listed = ET.SubElement(suite, "properties")
        for key, value in properties.items():
            ET.SubElement(listed, "property", {"name": _clean(key), "value": _clean(value)})
    suite.extend(cases)
    return suite


def _phase_case(phase: PhaseResult, name: str) -> ET.Element:
    case = _case(name, phase.phase, phase.seconds)
    if phase.status is Status.FAILED:
        details = [*phase.problems, *(f"{count} {kind}" for kind, count in phase.errors.items())]
        _add(case, "failure", phase.reason, "failed", "\n".join(details))
    elif phase.status is Status.INTERRUPTED:
        _add(case, "error", phase.reason, "interrupted")
    elif phase.status is Status.SKIPPED:
        _add(case, "skipped", phase.reason)
    return case


def _check_case(check: Check, name: str) -> ET.Element:
    case = _case(name, f"{check.metric} {check.bound} {with_unit(check.limit, check.unit)}")
    if not check.passed:
        _add(case, "failure", str(check), "threshold", check.source)
    return case


def _test_case(test: TestRecord, name: str) -> ET.Element:
    case = _case(name, test.name, test.seconds)
    if test.failures:
        said = f"{test.failures} of {test.runs} runs failed: {test.message}"
        _add(case, "failure", said, "flaky" if test.flaky else "failed")
    return case


def _case(classname: str, name: str, seconds: float = 0.0) -> ET.Element:
    return ET.Element(
        "testcase", {"classname": classname, "name": _clean(name), "time": _seconds(seconds)}
    )


def _add(case: ET.Element, kind: str, message: str, what: str = "", text: str = "") -> None:
    inside = ET.SubElement(case, kind, {"message": _clean(message)})
    if what:
        inside.set("type", what)
    inside.text = _clean(text) or None


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _clean(text: str) -> str:
    """Leave out what XML 1.0 cannot hold, section 2.2: the document must stay readable."""
    return _NO_XML.sub("�", text)
