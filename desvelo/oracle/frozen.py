"""A hashable image of any value: two states with equal images behave alike.

A search remembers the states it has seen. The text of a state is slow to make and shortens or
blurs what it shows; an image made of tuples is neither.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable
from types import BuiltinFunctionType, FunctionType
from typing import Any

_AS_IT_IS = frozenset({int, str, bytes, type(None)})


def frozen(value: Any) -> Hashable:
    """Return the image of a value.

    What may behave differently has different images: ``1``, ``1.0`` and ``True``; dictionaries
    of another order; two names for one list, and two equal lists. Sets have no order.

    >>> frozen({"a": [1, 2]}) == frozen({"a": [1, 2]})
    True
    >>> frozen([1]) == frozen([True]), frozen({1, 2}) == frozen({2, 1})
    (False, True)
    """
    if type(value) in _AS_IT_IS:
        return value  # type: ignore[no-any-return]
    return _Freezer().image(value)


class _Freezer:
    """One walk through a value; remembers which objects it has met."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []
        """What was made on the way: an id is taken again once its object is gone."""

    def image(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in _AS_IT_IS:
            return value  # type: ignore[no-any-return]
        if kind is tuple:
            return (tuple, *map(self.image, value))
        if kind is bool or kind is float or kind is complex:
            return (kind, value)
        if kind is frozenset:
            return (kind, frozenset(map(self.image, value)))
        again = self._met.get(id(value))
        if again is not None:
            return ("met", again)
        if _is_value(value):
            return (kind, value)
        self._met[id(value)] = len(self._met)
        return (kind, *self._parts(value))

    def _parts(self, value: Any) -> tuple[Hashable, ...]:
        kind = type(value)
        if kind is list or kind is collections.deque:
            return tuple(map(self.image, value))
        if kind is dict:
            return tuple((self.image(key), self.image(one)) for key, one in value.items())
        if kind is set:
            return (frozenset(map(self.image, value)),)
        if kind is bytearray:
            return (bytes(value),)
        if _is_plain_object(value):
            return tuple((name, self.image(one)) for name, one in vars(value).items())
        return self._reduced(value)

    def _reduced(self, value: Any) -> tuple[Hashable, ...]:
        """Take a value apart as pickling would; what cannot be is like nothing but itself."""
        self._alive.append(value)
        try:
            maker, given, *rest = value.__reduce_ex__(4)
        except Exception:
            return ("itself", id(value))
        parts = [given, *map(_listed, rest)]
        self._alive.append(parts)
        return (maker, *map(self.image, parts))


def _listed(items: Any) -> Any:
    return list(items) if hasattr(items, "__next__") else items


def _is_value(value: Any) -> bool:
    """Tell whether equality says all there is to say: enumerations, dates, classes, numbers."""
    kind: Any = type(value)
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return True
    if isinstance(value, (list, dict, set, collections.deque, tuple, frozenset)):
        return False
    by_identity = kind.__hash__ is object.__hash__ or kind.__eq__ is object.__eq__
    return kind.__hash__ is not None and not by_identity and not _is_plain_object(value)


def _is_plain_object(value: Any) -> bool:
    """Tell whether all that an object has is in its dictionary."""
    kind: Any = type(value)
    return (
        hasattr(value, "__dict__")
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and not isinstance(value, (list, dict, set, tuple, frozenset, str, bytes, int, float))
        and not any("__slots__" in vars(base) for base in kind.__mro__)
    )
