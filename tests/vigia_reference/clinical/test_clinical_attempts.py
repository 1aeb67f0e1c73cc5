"""Transactions are tried again after a conflict, a bounded number of times."""

from collections.abc import Generator
from typing import Any

import pytest

from vigia_reference.clinical.attempts import Attempts, Begin, Commit, Pause, Rollback
from vigia_reference.clinical.errors import CommitPostponed, Conflict, RetriesExhausted
from vigia_reference.clinical.statements import query
from vigia_reference.clinical.transaction import Isolation, drive, writing

ASK = query("SELECT 1")


def steps() -> Generator[Any, Any, str]:
    yield ASK
    return "done"


class Scripted:
    """Answers effects, and fails those that the script says."""

    def __init__(self, *script: tuple[type, Exception]) -> None:
        self.script = list(script)
        self.seen: list[Any] = []

    def __call__(self, effect: Any) -> Any:
        self.seen.append(effect)
        if self.script and isinstance(effect, self.script[0][0]):
            raise self.script.pop(0)[1]
        return []

    @property
    def names(self) -> list[str]:
        return [type(effect).__name__ for effect in self.seen]


def carry_out(answer: Scripted) -> str:
    return drive(Attempts(Isolation.SERIALIZABLE).carry_out(writing(steps)), answer)


def test_a_transaction_is_begun_and_committed() -> None:
    answer = Scripted()
    assert carry_out(answer) == "done"
    assert answer.seen == [Begin(Isolation.SERIALIZABLE), ASK, Commit()]


@pytest.mark.parametrize("at", [Begin, type(ASK), Commit])
def test_after_a_conflict_the_whole_transaction_is_tried_again(at: type) -> None:
    answer = Scripted((at, Conflict()))
    assert carry_out(answer) == "done"
    assert answer.names[-5:] == ["Rollback", "Pause", "Begin", "Query", "Commit"]


def test_any_other_error_is_the_callers() -> None:
    answer = Scripted((type(ASK), LookupError()))
    with pytest.raises(LookupError):
        carry_out(answer)
    assert answer.names == ["Begin", "Query"]


def test_a_commit_that_has_to_wait_does_not_undo_the_work() -> None:
    answer = Scripted((Commit, CommitPostponed()), (Commit, CommitPostponed()))
    assert carry_out(answer) == "done"
    assert answer.names == ["Begin", "Query", "Commit", "Pause", "Commit", "Pause", "Commit"]


def test_trying_again_has_an_end_and_the_error_says_what_was_in_the_way() -> None:
    class Busy(Scripted):
        def __call__(self, effect: Any) -> Any:
            super().__call__(effect)
            if isinstance(effect, Begin):
                raise Conflict("database is locked")

    answer = Busy()
    with pytest.raises(RetriesExhausted, match="500 attempts: database is locked"):
        carry_out(answer)
    pauses = [effect.seconds for effect in answer.seen if isinstance(effect, Pause)]
    assert len(pauses) == Attempts.most
    assert max(pauses) <= Attempts.longest
    assert pauses[0] <= Attempts.shortest
    assert sum(isinstance(effect, Rollback) for effect in answer.seen) == Attempts.most
