"""What must hold of every answer, whatever its bytes are."""

import pickle

import httpx
from fake_api import TOKEN

from greenapi_async import AsyncStatusesClient, GreenApiError, from_dict, to_dict
from greenapi_async.cli.terminal import json_line, text_line

INVISIBLE = "\u200c\u200d\u200e\u200f"


HTTP_CODES = (200, 200, 200, 200, 400, 403, 404, 466, 500, 302)


def read_case(data):
    """Return the arguments of `examine` for a case of the corpus: its first byte, and a body."""
    kind = data[0] if data else 0
    return {
        "body": data[1:],
        "http_code": HTTP_CODES[kind % len(HTTP_CODES)],
        "content_encoding": "gzip" if kind % 2 else "",
    }


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, body):
        self._body = body

    async def __aiter__(self):
        yield self._body


async def examine(body, *, http_code=200, content_encoding="", max_body=2**20):
    """Return the statuses or the error that come of an answer, having checked that each can be shown."""
    headers = {"Content-Encoding": content_encoding, "Location": body[:64].decode("latin-1")}
    headers = {name: value for name, value in headers.items() if value and value.isprintable()}

    def answer(_):
        return httpx.Response(http_code, headers=headers, stream=_Bytes(body))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client:
        client = AsyncStatusesClient(
            1, TOKEN, http_client=http_client, max_rate=None, retries=0, max_body=max_body
        )
        try:
            statuses = await client.fetch()
        except GreenApiError as error:
            return _examined_error(error)

    return [_examined(status) for status in statuses]


def _examined_error(error):
    restored = pickle.loads(pickle.dumps(error))

    assert str(restored) == str(error)
    assert str(error).isprintable(), ascii(str(error))
    assert TOKEN not in str(error)
    assert error.__context__ is error.__cause__ is None
    assert len(str(error)) < 2048
    return error


def _examined(status):
    again = from_dict(to_dict(status))

    assert json_line(again) == json_line(status)
    assert (again.key, type(again)) == (status.key, type(status))
    assert status.key
    assert status.posted_at.year >= 1970
    assert repr(status).isprintable(), ascii(repr(status))
    for line in (text_line(status), json_line(status)):
        assert is_harmless(line), ascii(line)

    return status


def is_harmless(line):
    """Whether a line holds nothing that a terminal acts on; colours are off where stdout is none."""
    return all(
        char.isprintable() or char in INVISIBLE or "\U0001f000" <= char <= "\U0001faff" for char in line
    )
