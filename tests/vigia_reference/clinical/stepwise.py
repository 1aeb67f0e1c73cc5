"""An operation of a store for threads, carried out one effect at a time by hand."""

from collections.abc import Generator
from typing import Any

from vigia_reference.clinical.attempts import Commit, Effect
from vigia_reference.clinical.statements import Query
from vigia_reference.clinical.stores import ClinicalStore, _perform
from vigia_reference.clinical.transaction import Transaction, Work


def stepwise(store: ClinicalStore, work: Work[Any]) -> Generator[Effect, None, Any]:
    """Yield after each effect, and return what the operation returns."""
    if not isinstance(work, Transaction):
        try:
            asked = next(work)
            while True:
                try:
                    result = yield from stepwise(store, asked)
                except Exception as error:
                    asked = work.throw(error)
                else:
                    asked = work.send(result)
        except StopIteration as ended:
            return ended.value
    with store.pool.connection() as connection:
        effects = store._attempts.carry_out(work)
        try:
            effect = next(effects)
            while True:
                try:
                    rows = _perform(connection, effect)
                except Exception as error:
                    following = effects.throw(error)
                else:
                    yield effect
                    following = effects.send(rows)
                effect = following
        except StopIteration as ended:
            return ended.value


def until_query(steps: Generator[Effect, None, Any], text: str) -> None:
    """Carry out *steps* until a statement that contains *text* is answered."""
    for effect in steps:
        if isinstance(effect, Query) and text in effect.text:
            return
    raise AssertionError(f"no statement contains {text!r}")


def until_commit(steps: Generator[Effect, None, Any]) -> None:
    """Carry out *steps* until the first transaction is committed."""
    for effect in steps:
        if isinstance(effect, Commit):
            return
    raise AssertionError("nothing is committed")


def rest(steps: Generator[Effect, None, Any]) -> Any:
    """Carry out the rest of *steps* and return what the operation returns."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value
