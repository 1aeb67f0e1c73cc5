"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import vigia_reference

MODULES = [
    module.name for module in pkgutil.walk_packages(vigia_reference.__path__, "vigia_reference.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
