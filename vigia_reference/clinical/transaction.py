"""Transactions as data: what is asked of a database, without saying how a driver is asked.

A transaction is a generator of statements that is sent their rows; an operation is one
transaction, or a generator of several.  So each is written once, for drivers that block and for
drivers that are awaited (https://sans-io.readthedocs.io).
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from vigia_reference.clinical.statements import Query, Rows

T = TypeVar("T")
P = ParamSpec("P")
Asked = TypeVar("Asked")

Steps: TypeAlias = Generator[Query, Rows, T]
"""The statements of a transaction, or a part of them."""


class Isolation(StrEnum):
    """How far transactions are kept apart, by the names of the SQL standard."""

    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


@dataclass(frozen=True, slots=True)
class Transaction(Generic[T]):
    """What becomes visible as a whole or not at all; *steps* begins it anew each time."""

    steps: Callable[[], Steps[T]]
    read_only: bool = False


Operation: TypeAlias = Generator[Any, Any, T]
"""Transactions one after the other; each is sent its result."""

Work: TypeAlias = Transaction[T] | Operation[T]


def reading(steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> Transaction[T]:
    """Return the transaction of *steps*, which write nothing."""
    return Transaction(partial(steps, *args, **kwargs), read_only=True)


def writing(steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> Transaction[T]:
    """Return the transaction of *steps*."""
    return Transaction(partial(steps, *args, **kwargs))


def drive(steps: Generator[Asked, Any, T], answer: Callable[[Asked], Any]) -> T:
    """Answer everything that *steps* ask for, errors included, and return what they return.

    >>> def steps():
    ...     first = yield 1
    ...     second = yield 2
    ...     return first + second
    >>> drive(steps(), lambda asked: asked * 10)
    30
    """
    try:
        asked = next(steps)
        while True:
            try:
                answered = answer(asked)
            except BaseException as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(answered)
    except StopIteration as ended:
        result: T = ended.value
        return result


async def drive_async(
    steps: Generator[Asked, Any, T], answer: Callable[[Asked], Awaitable[Any]]
) -> T:
    """Do as `drive`, with answers that are awaited."""
    try:
        asked = next(steps)
        while True:
            try:
                answered = await answer(asked)
            except BaseException as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(answered)
    except StopIteration as ended:
        result: T = ended.value
        return result
