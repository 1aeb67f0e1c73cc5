"""When a Redis server has answered everything: RESP, read as it comes."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desvelo.servers.embedded_redis import encode
from desvelo.world.held.redis_connection import RedisError, decode, encode_command
from desvelo.world.held.resp import Commands, NotResp, Replies, describe, end_of_reply

leaves = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
RESP3 = (
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"(12345678901234567890\r\n",
    b"=5\r\ntxt:a\r\n",
    b"!3\r\nERR\r\n",
    b"%1\r\n+a\r\n*1\r\n:1\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b">2\r\n+message\r\n$-1\r\n",
    b"|1\r\n+ttl\r\n:3\r\n$2\r\nhi\r\n",
    b"*-1\r\n",
    b"*0\r\n",
)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    ends = [0, *places, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.lists(st.integers(0, 500), max_size=6))
def test_replies_are_cut_where_they_end_however_they_arrive(
    several: list[Any], cuts: list[int]
) -> None:
    replies = Replies()
    found: list[Any] = []
    for piece in in_pieces(b"".join(encode(value, 2) for value in several), cuts):
        found += [decode(reply) for reply in replies.feed(piece)]
    assert found == several
    assert replies.between


@pytest.mark.parametrize("reply", RESP3)
def test_a_reply_of_version_three_is_complete_with_its_last_byte(reply: bytes) -> None:
    assert end_of_reply(reply) == len(reply)
    assert all(end_of_reply(reply[:end]) is None for end in range(len(reply)))
    assert end_of_reply(b"+OK\r\n" + reply, 5) == 5 + len(reply)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_commands_are_cut_where_they_end_and_keep_their_bytes(
    several: list[list[bytes]], cuts: list[int]
) -> None:
    commands = Commands()
    sent = b"".join(encode_command(*words) for words in several)
    found = [one for piece in in_pieces(sent, cuts) for one in commands.feed(piece)]
    assert [one.words for one in found] == several
    assert b"".join(one.raw for one in found) == sent


@pytest.mark.parametrize("data", [b"HTTP/1.1 400\r\n", b"$x\r\n", b"*?\r\n"])
def test_what_is_no_reply_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotResp):
        end_of_reply(data)
    assert describe(data, sent=False) == f"{len(data)} bytes"


def test_errors_and_status_lines_are_written_as_they_are() -> None:
    from fakeredis._helpers import SimpleError, SimpleString

    assert encode(SimpleString(b"OK"), 2) == b"+OK\r\n"
    assert encode([SimpleError("ERR no")], 3) == b"*1\r\n-ERR no\r\n"
    error = decode(b"-WRONGTYPE it is a list\r\n")
    assert isinstance(error, RedisError)
    assert str(error) == "WRONGTYPE it is a list"


def test_a_piece_of_a_conversation_is_told_without_its_length() -> None:
    assert describe(encode_command("SET", "k", "v")[:-4], sent=True) == "a part of a command"
    two = encode_command("MULTI") + encode_command("INCR", "k")
    assert describe(two, sent=True) == "MULTI; INCR k"
    assert describe(b"+QUEUED\r\n*2\r\n:1\r\n$-1\r\n:", sent=False) == (
        "QUEUED, [1, nothing], a part of a reply"
    )
