"""Targets by name: what is said of those that do not exist or cannot be loaded."""

import sys

import pytest

from desvelo import targets
from desvelo.errors import TargetError, UsageError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module to load as a target."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(targets, "_current", None)
    monkeypatch.setattr(targets, "_current_name", None)
    before = set(sys.modules)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_target_is_loaded_with_its_variant_and_becomes_the_current_one(module):
    name = module("own_target", "def load(variant): return ['adapter', variant]")
    assert targets.choose_target(f"{name}:slow") == ["adapter", "slow"]
    assert targets.current_target() == ["adapter", "slow"]
    assert targets.current_target_name() == "own_target:slow"


def test_the_default_is_the_embedded_system(module):
    assert targets.current_target().name == "vigia_reference"


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(UsageError, match=r"'vigia_referenc'; did you mean 'vigia_reference'\?"):
        targets.load_target("vigia_referenc")


def test_an_unknown_defect_names_the_nearest():
    with pytest.raises(UsageError, match="NOPE"):
        targets.load_target("vigia_reference:NOPE")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package", "does not import: No module named 'no_such_package'"),
        ("1 / 0", "does not import: ZeroDivisionError: division by zero"),
        ("def load(variant:", "does not import: SyntaxError"),
    ],
)
def test_a_target_that_does_not_import_says_why(module, text, said):
    with pytest.raises(TargetError, match=said):
        targets.load_target(module("broken_target", text))


def test_a_module_without_load_is_no_target(module):
    with pytest.raises(UsageError, match=r"it has no function load\(variant\)"):
        targets.load_target(module("no_target", "x = 1"))


@pytest.mark.parametrize("name", ["", ":variant", "..dots", "with space"])
def test_names_that_are_no_names_are_refused(name):
    with pytest.raises(UsageError, match="no target is called"):
        targets.load_target(name)
