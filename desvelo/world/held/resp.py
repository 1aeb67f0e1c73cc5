"""RESP, as far as one must read it to know when a Redis server has answered everything.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec (RESP2 and RESP3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NEWLINE = b"\r\n"
_BULK, _AGGREGATE, _PAIRS = b"$=!", b"*~>", b"%|"
_ATTRIBUTE = ord("|")
_HASH = re.compile("[0-9a-f]{40}")

_PUSHED = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"}) | frozenset(
    {b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"}
)
_BLOCKING = frozenset(
    {
        *(b"BLPOP", b"BRPOP", b"BLMOVE", b"BRPOPLPUSH", b"BLMPOP"),
        *(b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP", b"WAIT", b"WAITAOF"),
    }
)
_READING = frozenset({b"XREAD", b"XREADGROUP"})
_ENDLESS = frozenset({b"MONITOR", b"SYNC", b"PSYNC", b"SHUTDOWN", b"FAILOVER", b"QUIT"})
_OF_CLIENT = frozenset({b"REPLY", b"TRACKING", b"PAUSE", b"KILL", b"NO-EVICT", b"CACHING"})
_INSTEAD = "use the embedded server for it (desvelo.servers.EmbeddedRedis)"


class NotResp(ValueError):
    """Bytes that are not RESP; the connection is of no use any more."""


def end_of_reply(data: bytes | bytearray, start: int = 0) -> int | None:
    r"""Return where the reply that begins at ``start`` ends; nothing when bytes are missing.

    Raises `NotResp` for anything that is no reply.

    >>> end_of_reply(b"+OK\r\n:1\r\n"), end_of_reply(b"*2\r\n$1\r\na\r\n"), end_of_reply(b"$-1\r\n")
    (5, None, 5)
    """
    at, missing = start, 1
    while missing:
        line_end = data.find(_NEWLINE, at)
        if line_end < 0:
            return None
        kind = data[at]
        at, head = line_end + 2, data[at + 1 : line_end]
        missing -= 1
        if kind in _BULK:
            at += max(_length(head) + 2, 0) if head != b"-1" else 0
            if at > len(data):
                return None
        elif kind in _AGGREGATE:
            missing += max(_length(head), 0)
        elif kind in _PAIRS:
            # Attributes stand before the reply that they belong to.
            missing += 2 * _length(head) + (kind == _ATTRIBUTE)
        elif kind not in b"+-:_,#(":
            raise NotResp(f"a reply of Redis does not begin with {bytes([kind])!r}")
    return at


def _length(head: bytes | bytearray) -> int:
    try:
        return int(head)
    except ValueError:
        raise NotResp(f"{bytes(head)!r} is no length of a reply") from None


class Replies:
    r"""Cuts what a server sends into replies, however it arrives.

    >>> replies = Replies()
    >>> list(replies.feed(b"+OK\r\n$2\r\n")), replies.between
    ([b'+OK\r\n'], False)
    >>> list(replies.feed(b"hi\r\n")), replies.between
    ([b'$2\r\nhi\r\n'], True)
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def between(self) -> bool:
        """Whether no reply has arrived in part."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what has arrived and give out the replies that are complete."""
        self._buffer += data
        start = 0
        try:
            while start < len(self._buffer):
                end = end_of_reply(self._buffer, start)
                if end is None:
                    break
                yield bytes(self._buffer[start:end])
                start = end
        finally:
            del self._buffer[:start]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, and the bytes in which it came."""

    words: list[bytes]
    raw: bytes

    @property
    def name(self) -> bytes:
        """The first word, in capitals."""
        return self.words[0].upper()

    @property
    def may_wait(self) -> bool:
        """Whether the server answers it only when another client has done something."""
        return self.name in _BLOCKING or (
            self.name in _READING and b"BLOCK" in [word.upper() for word in self.words]
        )


class Commands:
    r"""Cuts what a client sends into commands: arrays of texts, or lines for people.

    >>> commands = Commands()
    >>> [one.words for one in commands.feed(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGE")]
    [[b'PING']]
    >>> [one.words for one in commands.feed(b"T\r\n$1\r\nk\r\nECHO hi\r\n")]
    [[b'GET', b'k'], [b'ECHO', b'hi']]
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def between(self) -> bool:
        """Whether no command has arrived in part."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[Command]:
        """Take what was sent and give out the commands that are complete."""
        buffer = self._buffer
        buffer += data
        while buffer:
            is_array = buffer[:1] == b"*"
            end = end_of_reply(buffer) if is_array else buffer.find(b"\n") + 1 or None
            if end is None:
                return
            raw = bytes(buffer[:end])
            del buffer[:end]
            words = _words(raw) if is_array else raw.split()
            if words:
                yield Command(words, raw)


def _words(raw: bytes) -> list[bytes]:
    words = []
    at = raw.index(_NEWLINE) + 2
    while at < len(raw):
        line_end = raw.index(_NEWLINE, at)
        size = _length(raw[at + 1 : line_end])
        words.append(raw[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2
    return words


def refusal(command: Command) -> str | None:
    """Say why a command cannot be held; nothing when it can.

    What cannot is whatever has not exactly one reply, or one that depends on the real clock.

    >>> refusal(Command([b"get", b"k"], b""))
    >>> refusal(Command([b"BLPOP", b"k", b"1.5"], b""))[:44]
    'BLPOP with a time-out: it would run out by t'
    """
    name, words = command.name, command.words
    second = words[1].upper() if len(words) > 1 else b""
    if name in _PUSHED:
        return f"{shown(name)}: a real Redis server sends messages whenever it likes; {_INSTEAD}"
    if command.may_wait and _time_out(command) != b"0":
        return (
            f"{shown(name)} with a time-out: it would run out by the real clock; wait without one "
            f"(0), or {_INSTEAD}"
        )
    if name in _ENDLESS or (name == b"CLIENT" and second in _OF_CLIENT):
        told = shown(name) if name in _ENDLESS else shown(name + b" " + second)
        return f"{told}: it changes what a real Redis server answers to others, or to what follows"
    return None


def _time_out(command: Command) -> bytes:
    words = command.words
    if command.name in _READING:
        at = [word.upper() for word in words].index(b"BLOCK") + 1
        return words[at] if at < len(words) else b"0"
    if command.name in (b"BLMPOP", b"BZMPOP"):
        return words[1] if len(words) > 1 else b"0"
    return b"forever" if command.name in (b"WAIT", b"WAITAOF") else words[-1]


def describe(data: bytes, *, sent: bool) -> str:
    r"""Describe a piece of a conversation: a client's commands, or a server's replies.

    >>> describe(b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n", sent=True)
    'INCR k'
    >>> describe(b"+OK\r\n$2\r\nhi\r\n*1\r\n:3\r\n", sent=False)
    'OK, hi, [3]'
    """
    reader = Commands() if sent else Replies()
    try:
        if isinstance(reader, Commands):
            told = [tell_command(command) for command in reader.feed(data)]
        else:
            told = [_tell_reply(reply) for reply in reader.feed(data)]
    except NotResp:
        return f"{len(data)} bytes"
    if not reader.between:
        told.append("a part of a " + ("command" if sent else "reply"))
    return _cut(("; " if sent else ", ").join(told), 80)


def tell_command(command: Command) -> str:
    """Write a command as people do.

    >>> tell_command(Command([b"set", b"k", b"two words"], b""))
    "SET k 'two words'"
    """
    words = [command.name, *command.words[1:]]
    return _cut(" ".join([shown(word) for word in words]), 60)


def _tell_reply(reply: bytes) -> str:
    line, _, rest = reply.partition(_NEWLINE)
    kind, head = line[:1], line[1:]
    if kind == b"-":
        return "error " + _cut(head.decode("utf-8", "replace"), 60)
    if kind in (b"$", b"*") and head == b"-1":
        return "nothing"
    if kind in (b"$", b"=", b"!"):
        return shown(rest[:-2])
    if kind == b"_":
        return "nothing"
    if kind[0] in _AGGREGATE + _PAIRS:
        replies = [_tell_reply(part) for part in Replies().feed(rest)]
        return _cut(f"[{', '.join(replies)}]", 60)
    return shown(head)


def shown(word: bytes, limit: int = 36) -> str:
    """Write one word as people read it; hashes of scripts are cut short.

    >>> shown(b"patient:A-1"), shown(b"two words"), shown(b"0123456789" * 4)
    ('patient:A-1', "'two words'", '0123456...')
    """
    text = word.decode("utf-8", "backslashreplace")
    if len(text) == 40 and _HASH.fullmatch(text):
        return text[:7] + "..."
    plain = text.isprintable() and text and " " not in text
    return _cut(text, limit) if plain else repr(_cut(text, limit))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


__all__ = [
    "Command",
    "Commands",
    "NotResp",
    "Replies",
    "describe",
    "end_of_reply",
    "refusal",
    "tell_command",
]
