"""HTTP requests and answers as values."""

from collections.abc import Sequence
from email.utils import formatdate

import attrs

JSON = "application/json"
HTML = "text/html"
TEXT = "text/plain; charset=utf-8"

Headers = list[tuple[str, str]]


@attrs.frozen
class Request:
    """One HTTP request; `target` is the path and the query as they stand in the request line."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Return what follows the question mark, or an empty string."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        """Return the first value of the header, or an empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@attrs.frozen
class Response:
    """One HTTP answer; the headers hold the Content-Length too, the body is what goes on the wire."""

    http_code: int
    headers: Headers
    body: bytes


@attrs.frozen(kw_only=True)
class Received:
    """One request to getIncomingStatuses, as the simulator took and answered it.

    `minutes` is None where the request named none, or no integer. `at` is the simulator's clock.
    """

    minutes: int | None
    http_code: int
    at: float


def response(
    http_code: int, body: bytes, *, content_type: str, now: float, extra: Sequence[tuple[str, str]] = ()
) -> Response:
    """Build an answer with the headers that every answer has: Date, Content-Type, Content-Length."""
    headers = [("Date", formatdate(now, usegmt=True)), ("Content-Type", content_type)]
    return Response(http_code, [*headers, *extra, ("Content-Length", str(len(body)))], body)


def replace_headers(headers: Headers, changes: dict[str, str | None]) -> Headers:
    """Return the headers with `changes` made: a value replaces or adds, None removes."""
    changed = {name.lower() for name in changes}
    kept = [(name, value) for name, value in headers if name.lower() not in changed]
    return kept + [(name, value) for name, value in changes.items() if value is not None]
