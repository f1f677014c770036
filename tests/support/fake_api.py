"""Fakes that give prepared answers: of the API below a client, and of an instance below a poller."""

import json
from collections import deque
from contextlib import nullcontext

import anyio
import httpx

ID = "1101000001"
TOKEN = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"
HOST = "https://1101.api.green-api.com"


def item(number=1, **fields):
    usual = {
        "idMessage": str(number),
        "timestamp": 1710232595,
        "typeMessage": "audioMessage",
        "chatId": "1@c.us",
    }
    return usual | fields


def reply(http_code=200, body=b"[]", **headers):
    """What the fake API answers; `body` may be a stream."""
    content = body if isinstance(body, bytes | httpx.AsyncByteStream) else json.dumps(body).encode()
    kind = "stream" if isinstance(content, httpx.AsyncByteStream) else "content"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status_code": http_code, kind: content, "headers": named}


def with_cause(error, cause):
    error.__cause__ = cause
    return error


class _Script:
    """Gives its answers one after the other, the last one for ever; remembers what it was asked and when."""

    def __init__(self, *answers):
        self.answers = deque(answers)
        self.asked = []
        self.times = []

    def _remember(self, request):
        self.asked.append(request)
        self.times.append(anyio.current_time())

    def _next(self):
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer

        return answer


class FakeApi(_Script):
    """The API as the handler of an httpx transport, by default without statuses.

    An answer is a `reply`, an exception to raise, or a number of seconds to take for an empty array.
    """

    def __init__(self, *answers):
        super().__init__(*(answers or [reply()]))
        self.busy = self.busiest = 0

    @property
    def urls(self):
        """The URLs that were asked for, as they were sent."""
        return [
            f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.raw_path.decode()}"
            for request in self.asked
        ]

    async def __call__(self, request):
        self._remember(request)
        answer = self._next()
        if isinstance(answer, dict):
            return httpx.Response(**answer)

        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await anyio.sleep(answer)
        finally:
            self.busy -= 1
        return httpx.Response(200, content=b"[]")


class FakeInstance(_Script):
    """What a poller asks, by minutes; an answer is the poller's own kind, or an exception to raise."""

    id_instance = "1101000001"

    def check_open(self):
        """Nobody closes it."""

    def until_closed(self):
        return nullcontext()

    async def page(self, minutes):
        self._remember(minutes)
        await anyio.lowlevel.checkpoint()
        return self._next()
