"""The part of the pytest plugin that checks tests on the real system for leaks.

A test is checked when it has the marker or the fixture ``leak_check``, or all are with the option
of the same name. It is watched from before its first fixture to after its last, and judged only
if it passed: a test that failed midway had no chance to clean up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from desvelo.resources.check import LeakCheck

LEAK_CHECK_HELP = "check every test for resources that it leaves open"
BLOCKED_HELP = "in checked tests, accuse a callback that holds the event loop this long: 200ms, 1s"

_ON = "leak_check(blocked=None): check that the test leaves no resource open"
_OFF = "allow_leak(*kinds, reason): resources of these kinds may stay open after the test, or all"

_CHECK: pytest.StashKey[LeakCheck] = pytest.StashKey()
_FAILED: pytest.StashKey[bool] = pytest.StashKey()
_ATTACHED: pytest.StashKey[bool] = pytest.StashKey()
_BLOCKED: pytest.StashKey[float | None] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the ini settings of the same meaning."""
    group = parser.getgroup("desvelo")
    group.addoption("--leak-check", action="store_true", help=LEAK_CHECK_HELP)
    parser.addini("leak_check", LEAK_CHECK_HELP, type="bool", default=False)
    parser.addini("leak_check_blocked", BLOCKED_HELP)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and begin to watch when every test is to be checked."""
    config.addinivalue_line("markers", _ON)
    config.addinivalue_line("markers", _OFF)
    setting = str(config.getini("leak_check_blocked") or "")
    origin = "leak_check_blocked in the configuration"
    config.stash[_BLOCKED] = _seconds(setting, origin) if setting else None
    if _all(config):
        _attach(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the markers before anything runs."""
    for item in items:
        for marker in item.iter_markers("allow_leak"):
            _allowed(marker, item.nodeid)
        for marker in item.iter_markers("leak_check"):
            _blocked(marker, item.nodeid)
        if not config.stash.get(_ATTACHED, False) and _is_checked(item):
            _attach(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Put everything back."""
    if config.stash.get(_ATTACHED, False):
        from desvelo.resources.check import ATTACHMENT

        config.stash[_ATTACHED] = False
        ATTACHMENT.detach()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Begin before the first fixture is set up."""
    if _is_checked(item):
        from desvelo.resources.check import LeakCheck

        markers = list(item.iter_markers("leak_check"))
        bounds = [bound for one in markers if (bound := _blocked(one, item.nodeid)) is not None]
        allowed = [kind for one in item.iter_markers("allow_leak") for kind in one.args]
        check = LeakCheck(
            allowed,
            blocked=bounds[0] if bounds else item.config.stash[_BLOCKED],
            during="the test",
            longer=lambda: _longer_lived(item),
            cleaned_up=lambda: _cleaned_up(item.config),
        )
        check.begin()
        item.stash[_CHECK] = check
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    """Judge after the last fixture is torn down."""
    check = item.stash.get(_CHECK, None)
    if check is None:
        return (yield)
    del item.stash[_CHECK]
    try:
        result = yield
    except BaseException:
        check.end(judge=False)
        raise
    spoiled = item.stash.get(_FAILED, False) or _allows_all(item)
    if check.end(judge=not spoiled):
        from desvelo.resources.leak import text_of

        pytest.fail(text_of(check.leaks, "the test"), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Remember whether the test passed; where a port was in use, say who has it."""
    report = yield
    if call.excinfo is not None:
        item.stash[_FAILED] = True
        if item.config.stash.get(_ATTACHED, False):
            from desvelo.resources.check import RECORDER
            from desvelo.resources.ports import is_port_in_use, who_listens

            if is_port_in_use(call.excinfo.value):
                said = who_listens(RECORDER, str(call.excinfo.value))
                report.sections.append(("desvelo: who listens", "\n".join(said) or "nobody here"))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Spare what a fixture of a wider scope makes: it is torn down after other tests."""
    check = (
        request.node.stash.get(_CHECK, None) if fixturedef.scope == "function" else _any(request)
    )
    if check is None or fixturedef.scope == "function":
        return (yield)
    with check.window.sparing():
        return (yield)


@pytest.fixture(name="leak_check")
def leak_check_fixture(request: pytest.FixtureRequest) -> Iterator[LeakCheck | None]:
    """Check that this test leaves no resource open; the marker of the same name does as much."""
    yield request.node.stash.get(_CHECK, None)  # noqa: PT022 - no teardown: the hooks judge


# which tests, and what they may leave


def _all(config: pytest.Config) -> bool:
    return bool(config.getoption("--leak-check") or config.getini("leak_check"))


def _is_checked(item: pytest.Item) -> bool:
    # A machine runs in simulated worlds, which see to leaks themselves.
    function = getattr(item, "function", None) or getattr(item, "obj", None)
    if hasattr(function, "_hypothesis_state_machine_class"):
        return False
    return (
        _all(item.config)
        or item.get_closest_marker("leak_check") is not None
        or "leak_check" in getattr(item, "fixturenames", ())
    )


def _allows_all(item: pytest.Item) -> bool:
    return any(not marker.args for marker in item.iter_markers("allow_leak"))


def _allowed(marker: pytest.Mark, nodeid: str) -> None:
    from desvelo.errors import UsageError

    reason = marker.kwargs.get("reason")
    if not isinstance(reason, str) or not reason.strip() or set(marker.kwargs) != {"reason"}:
        raise pytest.UsageError(
            f'{nodeid}: allow_leak needs a reason: @pytest.mark.allow_leak("KIND", reason="...")'
        )
    from desvelo.resources.check import checked_kind

    try:
        for kind in marker.args:
            checked_kind(kind, f"{nodeid}: allow_leak")
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _blocked(marker: pytest.Mark, nodeid: str) -> float | None:
    if marker.args or set(marker.kwargs) - {"blocked"}:
        raise pytest.UsageError(
            f"{nodeid}: leak_check takes only blocked=SECONDS; to let a resource stay open use "
            '@pytest.mark.allow_leak("KIND", reason="...")'
        )
    bound = marker.kwargs.get("blocked")
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not bound > 0:
        raise pytest.UsageError(
            f"{nodeid}: leak_check(blocked={bound!r}): give seconds, more than 0"
        )
    return float(bound)


def _seconds(text: str, origin: str) -> float:
    number, unit = text.strip().removesuffix("s").removesuffix("m"), text.strip()
    scale = 0.001 if unit.endswith("ms") else 1.0
    with contextlib.suppress(ValueError):
        if unit.endswith("s") and float(number) > 0:
            return float(number) * scale
    raise pytest.UsageError(f"{origin}: {text!r} is not a time; write it as in 200ms or 1s")


def _attach(config: pytest.Config) -> None:
    from desvelo.resources.check import ATTACHMENT

    config.stash[_ATTACHED] = True
    ATTACHMENT.attach()


# what outlives a test


def _any(request: pytest.FixtureRequest) -> LeakCheck | None:
    """Return the check that is under way: the node of a wider fixture is not the test."""
    item: Any = getattr(request, "_pyfuncitem", None)
    return item.stash.get(_CHECK, None) if item is not None else None


def _longer_lived(item: pytest.Item) -> Iterator[Any]:
    """Return the values of the fixtures of a wider scope that are alive."""
    manager: Any = getattr(item.session, "_fixturemanager", None)
    for definitions in list(getattr(manager, "_arg2fixturedefs", {}).values()):
        for definition in definitions:
            cached = getattr(definition, "cached_result", None)
            if definition.scope != "function" and cached is not None:
                yield cached[0]


def _cleaned_up(config: pytest.Config) -> list[str]:
    """Return the folders that pytest removes by itself."""
    factory: Any = getattr(config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    given = getattr(factory, "_given_basetemp", None)
    return [str(path) for path in (base, given) if path is not None]
