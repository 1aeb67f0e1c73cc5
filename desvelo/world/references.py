"""Who else holds a function that is replaced: ``from time import monotonic`` and its like.

Beside the names of a module these are the defaults of its functions and the attributes of its
classes. Modules of installed packages are looked through once, those of the user each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random, SystemRandom
from types import FunctionType, ModuleType
from typing import Any

from desvelo.world.whereabouts import is_foreign, is_installed

_UNTOUCHED = frozenset(
    {
        "_hypothesis",
        "_pytest",
        "asyncio",
        "concurrent",
        "coverage",
        "desvelo",
        "execnet",
        "hypothesis",
        "multiprocessing",
        "os",
        "posix",
        "pytest",
        "pytest_timeout",
        "queue",
        "random",
        "selectors",
        "signal",
        "_signal",
        "socket",
        "_socket",
        "subprocess",
        "threading",
        "time",
        "time_machine",
        "xdist",
    }
)
"""Modules whose own references are left alone: they serve the process, not the target."""

Reference = tuple[Any, str, Any]
"""Owner, name of the attribute, and what it is to become."""

_places: dict[str, tuple[ModuleType, int, list[tuple[Any, str]]]] = {}
"""What was found in installed modules, as long as they have not grown since."""

_generators: dict[str, tuple[ModuleType, int, list[Random]]] = {}


def references(modules: Mapping[str, ModuleType], stand_ins: dict[int, Any]) -> list[Reference]:
    """Find who holds the objects whose ``id`` is a key of ``stand_ins``.

    >>> import time
    >>> here = ModuleType("here")
    >>> here.clock = time.monotonic
    >>> [(name, new) for _, name, new in references({"here": here}, {id(time.monotonic): "ours"})]
    [('clock', 'ours')]
    """
    found: list[Reference] = []
    for name, module in modules_of_targets(modules):
        for owner, attribute in _places_in(name, module, stand_ins):
            new = _changed(owner, attribute, stand_ins)
            if new is not None:
                found.append((owner, attribute, new))
    return found


def generators(modules: Mapping[str, ModuleType]) -> list[Random]:
    """Return the random generators that modules made for themselves.

    >>> here = ModuleType("here")
    >>> here.jitter = Random(1)
    >>> generators({"here": here}) == [here.jitter]
    True
    """
    found = []
    for name, module in modules_of_targets(modules):
        before = _generators.get(name)
        size = len(vars(module))
        if before is None or before[0] is not module or before[1] != size:
            kept = [
                value
                for _, _, values in _held(name, module)
                for value in values
                if isinstance(value, Random) and not isinstance(value, SystemRandom)
            ]
            before = _generators[name] = (module, size, kept)
        found += before[2]
    return found


def modules_of_targets(modules: Mapping[str, ModuleType]) -> Iterator[tuple[str, ModuleType]]:
    """Return the modules that may serve a target, by name."""
    for name, module in list(modules.items()):
        # Whatever a program puts there, such as an object that stands for a module.
        kind: type = type(module)
        if issubclass(kind, ModuleType) and name.partition(".")[0] not in _UNTOUCHED:
            yield name, module


def _places_in(name: str, module: ModuleType, stand_ins: dict[int, Any]) -> list[tuple[Any, str]]:
    before = _places.get(name)
    size = len(vars(module))
    if before is not None and before[0] is module and before[1] == size:
        return before[2]
    places = [
        (owner, attribute)
        for owner, attribute, values in _held(name, module)
        if any(id(value) in stand_ins for value in values)
    ]
    file = vars(module).get("__file__")
    if not isinstance(file, str) or is_foreign(file) or is_installed(file):
        _places[name] = (module, size, places)
    return places


def _held(name: str, module: ModuleType) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Walk through what a module holds: owner, name of the attribute, and values under it."""
    for attribute, value in list(vars(module).items()):
        if isinstance(value, FunctionType):
            if value.__module__ == name:
                yield from _defaults(value)
        elif isinstance(value, type) and value.__module__ == name:
            for own, member in list(vars(value).items()):
                held = member.__func__ if isinstance(member, staticmethod) else member
                yield value, own, (held,)
                if isinstance(held, FunctionType):
                    yield from _defaults(held)
        yield module, attribute, (value,)


def _defaults(function: FunctionType) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    if function.__defaults__:
        yield function, "__defaults__", function.__defaults__
    if function.__kwdefaults__:
        yield function, "__kwdefaults__", tuple(function.__kwdefaults__.values())


def _changed(owner: Any, attribute: str, stand_ins: dict[int, Any]) -> Any | None:
    """Return what an attribute is to become, or nothing when it has changed by itself."""
    if isinstance(owner, FunctionType):
        held = getattr(owner, attribute)
        if isinstance(held, dict):
            return {key: stand_ins.get(id(value), value) for key, value in held.items()}
        return tuple(stand_ins.get(id(value), value) for value in held or ())
    value = vars(owner).get(attribute)
    if isinstance(value, staticmethod):
        value = value.__func__
    new = stand_ins.get(id(value))
    # A function of C is no method when it is found on an instance; one of Python is.
    return staticmethod(new) if new is not None and isinstance(owner, type) else new
