"""The examples in the docstrings say what is drawn, so they have to run."""

import doctest
import importlib
import pkgutil

import pytest

import strategies

MODULES = [
    "strategies",
    *(f"strategies.{found.name}" for found in pkgutil.iter_modules(strategies.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_this_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_everything_public_can_be_imported_and_says_what_it_is_for():
    for name in strategies.__all__:
        thing = getattr(strategies, name)
        assert thing.__doc__
