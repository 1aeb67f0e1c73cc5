"""The examples in the docstrings of the engine and of the adapters are true.

Those of `strategies` and `vigia_reference` are run beside their other tests.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import desvelo
import targets

MODULES = [package.__name__ for package in (desvelo, targets)] + [
    found.name
    for package in (desvelo, targets)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_this_module_are_true(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        name
        for name in MODULES
        if any(test.examples for test in finder.find(importlib.import_module(name)))
    ]
    assert len(found) >= 20
