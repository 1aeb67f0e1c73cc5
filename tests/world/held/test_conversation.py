"""Whose turn it is in a conversation with PostgreSQL."""

import pytest

from desvelo.world.held.postgres.conversation import Conversation
from desvelo.world.held.postgres.wording import Wording, without_reality


def play(talk, script):
    """Carry out ``>Q <T <D``: what is asked and answered; return what the client sees."""
    seen = ""
    for step in script.split():
        kind = ord(step[1])
        if step[0] == ">":
            talk.asked(kind)
        elif talk.answered(kind):
            seen += step[1]
    return seen


@pytest.mark.parametrize(
    "script",
    [
        ">Q <T <D <C <Z",
        ">Q <E <Z",
        ">Q <T <C <C <N <Z",
        ">P >D >S <1 <t <n <Z",
        ">B >E >S <2 <D <s <Z",
        ">P >B >D >E >S >P >B >E >S <1 <2 <n <C <Z <1 <2 <C <Z",
        ">P >B >E >S <E <Z",
        ">P >B >E >P >S <1 <E <Z",
        ">Q <G",
        ">Q <G >d >d >c <C <Z",
        ">Q <G >d >f <E <Z",
        ">Q <H <d <c <C <Z",
        ">F <V <Z",
        ">P >H <1",
        ">P >H <E >B >E >S <Z",
    ],
)
def test_an_answer_is_complete_exactly_at_its_end(script):
    steps = script.split()
    for end in range(1, len(steps)):
        talk = Conversation()
        play(talk, " ".join(steps[:end]))
        rest = steps[end:]
        if rest[0][0] == "<":
            # Between the request and the end of the answer the server owes.
            asked = any(step in {">Q", ">S", ">H", ">F"} for step in steps[:end])
            assert talk.owing or not asked or rest[0] == "<Z", (script, end)
    talk = Conversation()
    play(talk, script)
    assert not talk.owing


def test_what_is_not_flushed_need_not_be_answered():
    talk = Conversation()
    play(talk, ">P >B >E")
    assert not talk.owing
    assert not talk.at_rest


def test_hidden_requests_are_not_seen_but_notifications_are():
    talk = Conversation()
    talk.asked_hidden()
    assert play(talk, "<A <Z") == "A"
    assert talk.at_rest


def test_words_do_not_depend_on_names_that_drivers_count_up():
    def said(name):
        prepare = b"P" + (len(name) + 16).to_bytes(4) + name + b"\0SELECT 1\0\0\0"
        return Wording().of_client(prepare)

    assert said(b"stmt_9") == said(b"stmt_10") == "prepare SELECT 1"


def test_errors_lose_the_numbers_of_processes_transactions_and_rows():
    body = (
        b"SERROR\0DProcess 812 waits for ShareLock on transaction 77\0Wwhile updating tuple (0,9)"
    )
    without = without_reality(ord("E"), body, {812: 2})
    assert b"Process 2 waits for ShareLock on transaction ?" in without
    assert b"tuple (?,?)" in without
    assert int.from_bytes(without[1:5]) == len(without) - 1
