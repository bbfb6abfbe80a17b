"""How answers of Redis are read on an event loop, however they come apart."""

from __future__ import annotations

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError

from shield_core.rate_limit.storage.redis_loops import _Answers


class Heard:
    """What a channel is told."""

    def __init__(self) -> None:
        self.answers: list[bytes | str] = []
        self.lost: list[BaseException] = []

    def answer(self, value: bytes | None, error: Exception | None = None) -> None:
        self.answers.append(value if value is not None else f"{type(error).__name__}: {error}")

    def lose(self, reason: BaseException) -> None:
        self.lost.append(reason)


TEXTS = st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"$3\r\nabc\r\n", b""]), max_size=6)


@given(TEXTS, st.data())
def test_answers_arrive_whole_and_in_order_wherever_the_bytes_are_cut(
    texts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    heard = Heard()
    answers = _Answers(heard)  # type: ignore[arg-type]
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        answers.data_received(stream[begin:end])
    assert (heard.answers, heard.lost) == (texts, [])


def test_errors_are_answers_too() -> None:
    heard = Heard()
    _Answers(heard).data_received(
        b"-NOSCRIPT No matching script.\r\n-OOM command not allowed\r\n$2\r\nok\r\n"
    )  # type: ignore[arg-type]
    assert heard.answers == [
        f"{NoScriptError.__name__}: No matching script.",
        "ResponseError: OOM command not allowed",
        b"ok",
    ]


@pytest.mark.parametrize("stray", [b"$-1\r\n", b">2\r\n", b":1\r\n", b"+OK\r\n"])
def test_what_was_not_asked_for_ends_the_connection(stray: bytes) -> None:
    heard = Heard()
    _Answers(heard).data_received(stray)  # type: ignore[arg-type]
    assert not heard.answers
    assert isinstance(heard.lost[0], redis.InvalidResponse)
