"""Find where JSON can be cut, by its strings and brackets alone: in linear time, in short steps, without recursion."""

import re
from collections.abc import Generator, Iterator
from typing import Final, TypeAlias

from greenapi_async.errors import DecodeError

Steps: TypeAlias = Generator[None, None, int]
"""Work that yields where other tasks may run, and returns an offset."""

CLOSERS: Final = dict(zip(b"[{", b"]}", strict=True))
QUOTE, _COMMA = b'",'

_RUN = re.compile(rb"\[+|\{+|\]+|\}+")
_STEP: Final = 2048  # Bytes between two yields.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_FLAT = rb'[^"\[\]{}]*(?:' + _STRING + rb'[^"\[\]{}]*)*'
_INNER = rb'[^"\[\]{}]*(?:(?:' + _STRING + rb"|\{" + _FLAT + rb"\}|\[" + _FLAT + rb'\])[^"\[\]{}]*)*'
_IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_TO_COMMA = re.compile(_FLAT.replace(b"{}]", b"{},]"), re.DOTALL)
_TO_BRACKET = re.compile(_INNER, re.DOTALL)  # Of a bracket that contains others; flat ones are skipped.


def cuts(text: bytes, start: int) -> Iterator[int | None]:
    """Yield the offset of each comma of the array or object that opens before `start`, then of its closing bracket.

    None marks a step of the work, after which other tasks may run.

    Raises:
        DecodeError: a string or bracket is not closed, or closed by the wrong one.
    """
    closers = bytearray()
    place, pause = start, start + _STEP
    while True:
        place = yield from _mark(text, place, _TO_BRACKET if closers else _TO_COMMA)
        if place > pause:
            pause = place + _STEP
            yield None

        if closers or text[place] in CLOSERS:
            place = _past_brackets(text, place, closers)
        else:
            yield place
            if text[place] != _COMMA:
                return

            place += 1


def string_end(text: bytes, start: int) -> Steps:
    """Return the offset after the string that opens before `start`.

    Raises:
        DecodeError: it is not closed.
    """
    place = start
    while True:
        end = _matched(_IN_STRING, text, place)
        if text[end : end + 1] == b'"':
            return end + 1

        if end == place:
            raise _unbalanced(text, end)

        place = end
        yield None


def _mark(text: bytes, place: int, plain: "re.Pattern[bytes]") -> Steps:
    """Return the offset of the first bracket or comma outside strings that is not plain."""
    while True:
        end = _matched(plain, text, place)
        if end == place + _STEP:
            place = end
            yield None
        elif end == len(text):
            raise _unbalanced(text, end)
        elif text[end] == QUOTE:  # Of a string that continues beyond the step.
            place = yield from string_end(text, end + 1)
            yield None
        else:
            return end


def _past_brackets(text: bytes, place: int, closers: bytearray) -> int:
    """Return the offset after a run of one bracket, having opened or closed that many."""
    run = text[place : _matched(_RUN, text, place)]
    if run[0] in CLOSERS:
        closers += bytes([CLOSERS[run[0]]]) * len(run)
        return place + len(run)

    closed = run[: len(closers)]
    if closers[-len(closed) :] != closed:
        raise _unbalanced(text, place)

    del closers[-len(closed) :]
    return place + len(closed)


def _matched(pattern: "re.Pattern[bytes]", text: bytes, place: int) -> int:
    match = pattern.match(text, place, place + _STEP)
    return match.end() if match else place


def _unbalanced(text: bytes, place: int) -> DecodeError:
    return DecodeError(
        f"the response is not JSON: strings or brackets do not balance at byte {place} of {len(text)}"
    )
