"""Scenarios as files of their own, so that each test may change its copy."""

import sys
import textwrap

import pytest

from lost_update import LOST_UPDATE  # isort: skip


@pytest.fixture
def write_scenario(tmp_path, monkeypatch):
    """Return a function that writes a scenario file, which the next replay loads anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name="account", text=LOST_UPDATE):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        for module in set(sys.modules) - before:
            if getattr(sys.modules[module], "__file__", "") == str(path):
                del sys.modules[module]
        return path

    yield write
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]
