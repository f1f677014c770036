"""HTTP requests and responses as values."""

from collections.abc import Sequence
from email.utils import formatdate

import attrs

JSON = "application/json"
HTML = "text/html"
TEXT = "text/plain; charset=utf-8"

Headers = list[tuple[str, str]]


@attrs.frozen
class Request:
    """An HTTP request.

    Attributes:
        method: for example `"GET"`.
        target: path and query, as in the request line.
        headers: pairs of name and value, in the order sent.
        body: 64 KiB at most.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the question mark, or an empty string."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty string; case-insensitive."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@attrs.frozen
class Response:
    """An HTTP response.

    Attributes:
        http_code: the HTTP status code.
        headers: pairs of name and value, Content-Length included.
        body: the bytes to send, compressed if the headers say so.
    """

    http_code: int
    headers: Headers
    body: bytes


@attrs.frozen(kw_only=True)
class Received:
    """A request to getIncomingStatuses that the simulator has responded to.

    Attributes:
        minutes: the requested minutes, or None if absent or not an integer.
        http_code: the HTTP status code of the response.
        at: when it was received, by the simulator's clock, in seconds since the epoch.
    """

    minutes: int | None
    http_code: int
    at: float


def build_response(
    http_code: int, body: bytes, *, content_type: str, now: float, extra: Sequence[tuple[str, str]] = ()
) -> Response:
    """Build a response with the headers common to all: Date, Content-Type, Content-Length."""
    headers = [("Date", formatdate(now, usegmt=True)), ("Content-Type", content_type)]
    return Response(http_code, [*headers, *extra, ("Content-Length", str(len(body)))], body)


def replace_headers(headers: Headers, changes: dict[str, str | None]) -> Headers:
    """Return the headers with `changes` applied: a value replaces or adds one, None removes it."""
    changed = {name.lower() for name in changes}
    kept = [(name, value) for name, value in headers if name.lower() not in changed]
    return kept + [(name, value) for name, value in changes.items() if value is not None]
