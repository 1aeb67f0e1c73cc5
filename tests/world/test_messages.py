"""Messages of HTTP/1 end where RFC 9112 says, however the bytes are cut."""

import pytest

from desvelo.world.messages import Messages

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n"
    ),
]
ANSWERS = [
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nyes",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n",
]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("texts", "answers"), [(REQUESTS, False), (ANSWERS, True)])
def test_each_message_ends_at_its_last_byte(texts, answers, size):
    messages, ends, at = Messages(answers=answers), [], 0
    stream = b"".join(texts)
    while at < len(stream):
        piece = stream[at : at + size]
        before = messages.complete
        at += messages.take(piece, ends=False)
        if messages.complete > before:
            ends.append(at)
    assert ends == [sum(map(len, texts[: number + 1])) for number in range(len(texts))]
    assert not messages.within


def test_an_answer_without_a_length_ends_with_the_stream():
    messages = Messages(answers=True)
    messages.take(b"HTTP/1.1 200 OK\r\n\r\neverything", ends=True)
    assert messages.within
    messages.stop()
    assert messages.complete == 1


def test_the_answer_to_a_head_has_no_body_and_after_an_upgrade_it_is_another_protocol():
    messages = Messages(answers=True)
    messages.bodiless = True
    messages.take(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", ends=True)
    assert messages.complete == 1
    messages.take(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ends=True)
    messages.take(b"\x81\x05hello", ends=True)
    assert messages.complete == 3
