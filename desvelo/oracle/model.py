"""The states of a sequential model, and where each call of a history leads from each.

The model's own methods are called on copies, so a state never changes once it has been reached,
and each state is known by a small number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any

from desvelo.errors import UsageError
from desvelo.oracle.frozen import frozen
from desvelo.oracle.invocation import Invocation
from desvelo.world.values import describe_value, shorten

REFUSED = -1
"""Where a call leads when the model cannot give its result."""


_PLAIN = frozenset({int, str, bytes, type(None)})


class Model:
    """What a user's model class says, asked once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self._example = example = make()
        errors = getattr(type(example), "expected_errors", ())
        if not isinstance(errors, tuple) or not all(
            isinstance(one, type) and issubclass(one, BaseException) for one in errors
        ):
            raise UsageError(
                f"{self.name}.expected_errors must be a tuple of error classes, and is {errors!r}"
            )
        self.expected_errors: tuple[type[BaseException], ...] = errors
        self.image: Callable[[Any], Hashable] = (
            _own_state if callable(getattr(example, "state", None)) else _all_state
        )

    @property
    def name(self) -> str:
        """The name of the model's class."""
        return type(self._example).__name__

    def has(self, call: Invocation) -> bool:
        """Whether the model has a method for a call; what it does not have is not judged."""
        method = getattr(self._example, call.name, None)
        if iscoroutinefunction(method):
            raise UsageError(
                f"{self.name}.{call.name} is async; a sequential model has plain methods only"
            )
        return callable(method)

    def partition(self, calls: Sequence[Invocation]) -> list[tuple[Any, list[Invocation]]]:
        """Divide calls by the key that the model names for each, in order of appearance.

        Without a method ``partition``, or when it says ``None`` for one of the calls (it
        concerns every key), all stay together.
        """
        divide = getattr(self._example, "partition", None)
        if not callable(divide) or not calls:
            return [(None, list(calls))]
        parts: dict[Hashable, tuple[Any, list[Invocation]]] = {}
        for call in calls:
            key = divide(call.name, dict(call.arguments))
            if key is None:
                return [(None, list(calls))]
            parts.setdefault(frozen(key), (key, []))[1].append(call)
        return list(parts.values())

    def is_certain(self, call: Invocation) -> bool:
        """Whether a call is known to have happened: a result, or an error that is an answer."""
        if call.end is None:
            return False
        if isinstance(call.error, BaseException):
            return isinstance(call.error, self.expected_errors)
        if call.error is not None:
            names = {one.__name__ for one in self.expected_errors}
            return call.error_name in names
        return True


class StateSpace:
    """The states that calls lead to, numbered as they are met; number 0 is the first."""

    def __init__(self, model: Model, calls: Sequence[Invocation], *, open_call: int = -1) -> None:
        """Take the calls of one key; ``open_call`` may give any result, which is remembered."""
        self._model = model
        self._calls = calls
        self._open = open_call
        self._states: list[tuple[Any, str]] = []
        self._numbers: dict[Hashable, int] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._kinds = self._same_calls()
        self._given = [_reusable(call.arguments) for call in calls]
        self.refusals: dict[str, None] = {}
        """What the model raised when the open call was made."""
        self._enter(model.make(), "")

    def _same_calls(self) -> list[int]:
        """Number the calls so that equal ones, with equal outcomes, have one number."""
        known: dict[Hashable, int] = {}
        kinds = []
        for index, call in enumerate(self._calls):
            outcome = (
                ("open",)
                if index == self._open
                else ("returned", _identity(call.result))
                if call.returned
                else ("raised", call.error_name)
                if self._model.is_certain(call)
                else ("uncertain",)
            )
            asked = (call.name, frozen(dict(call.arguments)), outcome)
            kinds.append(known.setdefault(asked, len(known)))
        return kinds

    def step(self, state: int, call: int) -> int:
        """Make a call in a state: return the state after it, or `REFUSED`."""
        key = (state, self._kinds[call])
        after = self._steps.get(key)
        if after is None:
            after = self._steps[key] = self._make(state, call)
        return after

    def told(self, state: int) -> str:
        """Return what the open call was answered on the way to a state, as text."""
        return self._states[state][1]

    def _make(self, state: int, index: int) -> int:
        call = self._calls[index]
        before, told = self._states[state]
        after = copy.deepcopy(before)
        try:
            given = self._given[index]
            result = getattr(after, call.name)(
                **(copy.deepcopy(dict(call.arguments)) if given is None else given)
            )
        except Exception as error:
            if index == self._open:
                if isinstance(error, self._model.expected_errors):
                    return self._enter(after, f"✗ {_said(error)}")
                self.refusals[_said(error)] = None
                return REFUSED
            answers = isinstance(error, self._model.expected_errors) and _is_answer(call, error)
            return self._enter(after, told) if answers else REFUSED
        if index == self._open:
            return self._enter(after, f"➜ {describe_value(result, 40)}")
        if call.returned and not _equal(call, result):
            return REFUSED
        if not call.returned and self._model.is_certain(call):
            return REFUSED
        return self._enter(after, told)

    def _enter(self, state: Any, told: str) -> int:
        key = (self._model.image(state), told)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._states)
            self._states.append((state, told))
        return number


def _identity(result: Any) -> Hashable:
    """Tell results apart without running any code of theirs."""
    return result if type(result) in _PLAIN else (type(result), id(result))


def _reusable(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return arguments that no model can change, or nothing when they must be copied."""
    plain = all(type(value) in _PLAIN for value in arguments.values())
    return dict(arguments) if plain else None


def _own_state(model: Any) -> Hashable:
    return frozen(model.state())


def _all_state(model: Any) -> Hashable:
    return frozen(model)


def _is_answer(call: Invocation, error: Exception) -> bool:
    """Tell whether a call ended with the error that the model raises, or one of its kind."""
    if isinstance(call.error, BaseException):
        return isinstance(call.error, type(error))
    return call.error is not None and call.error_name == type(error).__name__


def _equal(call: Invocation, result: Any) -> bool:
    try:
        return bool(result == call.result)
    except Exception as error:
        raise UsageError(
            f"the result of {call.name}() cannot be compared with the model's: {_said(error)}; "
            "let the operation return plain values"
        ) from None


def _said(error: Exception) -> str:
    text = shorten(" ".join(str(error).split()), 60)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
