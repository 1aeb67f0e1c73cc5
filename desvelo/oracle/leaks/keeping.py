"""Who keeps a resource alive: a walk from what the target has, down to the resource.

The garbage collector could be asked who refers to it, but knows nothing of what was frozen before
the executions began, and answers in an order of its own. From the modules downwards the way is the
same in every run.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from desvelo.resources.reach import BORDERS
from desvelo.world.whereabouts import (
    display_path,
    is_foreign,
    is_installed,
    is_ours,
    suspended_frame,
)

_MOST_OBJECTS = 30_000
_MOST_LEVELS = 8
_PLAIN = (str, bytes, int, float, bool, type(None), type(Ellipsis))

Root = tuple[str, Any]
"""How something is called, and the object."""


def keepers(wanted: Collection[Any], roots: Iterable[Root]) -> dict[int, str]:
    """Return the shortest way to each of some objects, by id; those that none leads to are not in.

    >>> shop = {"bread": [object()]}
    >>> list(keepers([shop["bread"][0]], [("the shop", shop)]).values())
    ["the shop, as ['bread'][…]"]
    """
    targets = {id(one) for one in wanted}
    found: dict[int, str] = {}
    seen = {id(targets), id(found), id(wanted)}
    line: deque[tuple[str, str, Any, int]] = deque()
    for name, root in roots:
        if id(root) not in seen:
            seen.add(id(root))
            line.append((name, "", root, 0))
            if id(root) in targets:
                found[id(root)] = name
    while line and len(found) < len(targets) and len(seen) < _MOST_OBJECTS:
        name, path, owner, level = line.popleft()
        for step, value in _parts(owner):
            key = id(value)
            if key in seen or isinstance(value, _PLAIN):
                continue
            seen.add(key)
            way = path + step
            if key in targets:
                found[key] = _told(name, way)
            if level < _MOST_LEVELS and not isinstance(value, BORDERS):
                line.append((name, way, value, level + 1))
    return found


def modules_of_target() -> Iterator[Root]:
    """Walk through the modules of the user's own code."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType):
            file = getattr(module, "__file__", None) or "<built in>"
            if not is_foreign(file) and not is_installed(file):
                yield f"the module {name}", module


def _told(name: str, way: str) -> str:
    if name.startswith("the module "):
        way = way.removeprefix(".")
    return f"{name}, as {way}"


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(owner, dict):
        for key, value in list(owner.items()):
            yield f"[{key!r}]" if isinstance(key, (*_PLAIN, tuple)) else "[…]", value
            if not isinstance(key, _PLAIN):
                yield "[…]", key
    elif isinstance(owner, tuple):
        for index, value in enumerate(owner):
            yield f"[{index}]", value
    elif isinstance(owner, (list, deque, set, frozenset)):
        # A place in a list that grows would differ from one execution to the next.
        for value in list(owner):
            yield "[…]", value
    elif isinstance(owner, types.ModuleType):
        for key, value in list(vars(owner).items()):
            if not isinstance(value, types.ModuleType):
                yield f".{key}", value
    elif isinstance(owner, type):
        if owner.__module__ in sys.modules:
            file = getattr(sys.modules[owner.__module__], "__file__", None) or "<built in>"
            if not is_foreign(file) and not is_installed(file):
                for key, value in list(vars(owner).items()):
                    yield f".{key}", value
    elif isinstance(owner, types.FunctionType):
        for cell_name, cell in zip(
            owner.__code__.co_freevars, owner.__closure__ or (), strict=False
        ):
            yield from _contents(f".{cell_name}", cell)
        for default in (*(owner.__defaults__ or ()), *(owner.__kwdefaults__ or {}).values()):
            yield ".…", default
    elif isinstance(owner, types.MethodType):
        yield ".__self__", owner.__self__
    elif isinstance(owner, types.CellType):
        yield from _contents("", owner)
    else:
        yield from _attributes(owner)


def _contents(step: str, cell: Any) -> Iterator[tuple[str, Any]]:
    try:
        yield step, cell.cell_contents
    except ValueError:
        return


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    if is_ours(getattr(sys.modules.get(type(owner).__module__), "__file__", None) or "<none>"):
        return  # the world holds all sorts of things
    own = getattr(owner, "__dict__", None)
    if isinstance(own, dict):
        for key, value in list(own.items()):
            yield f".{key}", value
    for cls in type(owner).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            value = getattr(owner, slot, None) if slot != "__weakref__" else None
            if value is not None:
                yield f".{slot}", value
    wrapped = getattr(owner, "__wrapped__", None)
    if wrapped is not None:
        yield "", wrapped


def locals_of(coroutine: Any) -> Iterator[Root]:
    """Walk through the variables of the functions in which a suspended task stands."""
    frame = suspended_frame(coroutine)
    if frame is not None:
        code = frame.f_code
        place = f"{display_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
        for name, value in list(frame.f_locals.items()):
            yield f"the local variable {name} at {place}", value
