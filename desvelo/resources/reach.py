"""Who owns and who keeps an object, asked of the garbage collector only about a suspect."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import selectors
import sys
import types
from collections.abc import Iterable
from typing import Any

from desvelo.world.whereabouts import display_path, is_foreign

_MOST_OBJECTS = 50_000
_MOST_STEPS = 30
_MOST_LEVELS = 7
_MOST_WIDE = 40

BORDERS = (
    types.ModuleType,
    type,
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    types.BuiltinFunctionType,
    asyncio.AbstractEventLoop,
    selectors.BaseSelector,
    contextvars.Context,
    logging.Logger,
    logging.Manager,
)
"""From here everything can be reached: a walk that wants to know an owner stops."""


def reachable(roots: Iterable[Any], steps: int = _MOST_STEPS) -> set[int]:
    """Return the ids of all that the roots lead to in so many steps, themselves included.

    Modules, classes and event loops are not passed through: they lead to everything.
    """
    level = list(roots)
    seen: dict[int, Any] = {id(root): root for root in level}
    for _ in range(steps):
        below = []
        for owner in level:
            for found in _led_to(owner):
                if id(found) not in seen and not isinstance(found, BORDERS):
                    seen[id(found)] = found
                    below.append(found)
        level = below
        if not level or len(seen) > _MOST_OBJECTS:
            break
    return set(seen)


def _led_to(owner: Any) -> list[Any]:
    if isinstance(owner, types.FunctionType):
        # Its globals would lead to the whole module.
        return [owner.__closure__, owner.__defaults__, owner.__dict__]
    return gc.get_referents(owner)


def holder(kept: Any, ignored: Iterable[Any] = ()) -> str:
    """Say who refers to an object: a module's attribute, a variable, or the nearest object."""
    names: dict[int, str] = {}
    skipped = {id(one) for one in ignored}
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType):
            if is_foreign(getattr(module, "__file__", None) or "<built in>"):
                if name != "__main__":
                    skipped.add(id(vars(module)))
            else:
                names.setdefault(id(vars(module)), name)
    skipped.add(id(names))
    paths: dict[int, str] = {id(kept): ""}
    level: list[Any] = [kept]
    nearest = ""
    for _ in range(_MOST_LEVELS):
        above: list[Any] = []
        skipped.add(id(level))
        skipped.add(id(above))
        for referrer in gc.get_referrers(*level):
            if id(referrer) in paths or id(referrer) in skipped:
                continue
            found = _step(referrer, level, paths, names)
            if found is None:
                continue
            path, is_root = found
            if is_root:
                return path
            if not nearest and not isinstance(
                referrer, (dict, list, tuple, set, frozenset, types.CellType)
            ):
                nearest = f"an object of {_class(referrer)}, as {path}" if path[0] == "." else path
            paths[id(referrer)] = path
            if len(above) < _MOST_WIDE:
                above.append(referrer)
        level = above
        if not level:
            break
    return nearest


def _step(
    referrer: Any, level: list[Any], paths: dict[int, str], names: dict[int, str]
) -> tuple[str, bool] | None:
    """Go from an object to one that refers to it: how it is reached, and whether it is a root."""
    if isinstance(referrer, types.FrameType):
        if is_foreign(referrer.f_code.co_filename):
            return None
        return _variable(referrer, level, paths)
    if isinstance(referrer, (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)):
        frame = (
            getattr(referrer, "cr_frame", None)
            or getattr(referrer, "gi_frame", None)
            or getattr(referrer, "ag_frame", None)
        )
        if frame is None or is_foreign(frame.f_code.co_filename):
            return None
        return _variable(frame, level, paths)
    if isinstance(referrer, (asyncio.Handle, selectors.SelectorKey)):
        return "a callback of the event loop", False
    if isinstance(referrer, dict):
        module = names.get(id(referrer))
        for key, value in list(referrer.items()):
            below = paths.get(id(value))
            if below is not None:
                if module is not None:
                    return f"the module {module}, as {key}{below}", True
                # Of an instance: its owner, one level up, says so by a dot.
                return f"[{key!r}]{below}", False
        return None
    if isinstance(referrer, (list, tuple, set, frozenset)):
        for value in referrer:
            below = paths.get(id(value))
            if below is not None:
                return f"[…]{below}", False
        return None
    if isinstance(referrer, types.CellType):
        return _below(referrer.cell_contents, paths), False
    if isinstance(referrer, types.FunctionType):
        return f"a variable of the function {referrer.__qualname__}", True
    if isinstance(referrer, type):
        for name, value in list(vars(referrer).items()):
            if id(value) in paths:
                return f"the class {_name(referrer)}, as {name}{paths[id(value)]}", True
        for value in gc.get_referents(referrer):
            below = paths.get(id(value))
            if below is not None:
                return f"the class {_name(referrer)}, as {_dotted(below)}", True
        return None
    return _attribute(referrer, paths), False


def _attribute(owner: Any, paths: dict[int, str]) -> str:
    own = getattr(owner, "__dict__", None)
    if isinstance(own, dict):
        for name, value in list(own.items()):
            if id(value) in paths:
                return f".{name}{paths[id(value)]}"
    for value in gc.get_referents(owner):
        below = paths.get(id(value))
        if below is not None:
            return _dotted(below) if isinstance(value, dict) and value is own else f".…{below}"
    return ".…"


def _variable(
    frame: types.FrameType, level: list[Any], paths: dict[int, str]
) -> tuple[str, bool] | None:
    code = frame.f_code
    for name, value in list(frame.f_locals.items()):
        if id(value) in paths:
            place = f"{display_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
            return f"the local variable {name}{paths[id(value)]} at {place}", True
    return None


def _below(value: Any, paths: dict[int, str]) -> str:
    return paths.get(id(value), "")


def _dotted(path: str) -> str:
    """Turn the key of an instance's dictionary into the attribute that it is."""
    if path.startswith("['"):
        name, _, rest = path[2:].partition("']")
        return f".{name}{rest}"
    return path


def _class(owner: Any) -> str:
    return _name(type(owner))


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
