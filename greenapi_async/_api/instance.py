"""One instance of GREEN-API: its address, token, rate limit and HTTP, and its responses."""

import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import attrs

from greenapi_async._api import refusals
from greenapi_async._api.token import MASK, MaskedURL, Secret, on_the_wire, redacted, watch_loggers
from greenapi_async._decoding.page import Page, read, scan
from greenapi_async._http.address import is_loopback, parsed_url, url_text
from greenapi_async._http.exchange import Http, Response
from greenapi_async.errors import ClientClosedError, ConfigurationError, GreenApiError, sealed
from greenapi_async.models import Status

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")


class UrlObject(Protocol):
    """A URL of httpx, yarl or pydantic, whose `str` is the address."""

    @property
    def scheme(self) -> str:
        """The scheme."""

    @property
    def host(self) -> str | None:
        """The host."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Answer:
    """What a poller needs of a complete 200.

    Attributes:
        page: its items; None if the API sent nothing or `null`, which may mean "none" or be a hiccup.
        date: UNIX seconds of the `Date` header, or None without a usable one.
        cached: whether it comes from a cache (`Age` above 0), so its time is not the server's current time.
        duration: seconds from sending the request to the body's last byte.
    """

    page: Page | None
    date: float | None
    cached: bool
    duration: float


class Instance:
    """Requests the statuses of one instance; several instances share one `Http`.

    Attributes:
        id_instance: its digits.
        api_url: where it lives, without a trailing slash.
        origin: scheme, host and port of that.
    """

    def __init__(
        self, http: Http, id_instance: object, token: Secret, *, api_url: object, period: float
    ) -> None:
        """Check the user's arguments; `period` is the seconds from one request to the next.

        Raises:
            ConfigurationError: an argument is wrong; the message names it.
        """
        watch_loggers()
        self.id_instance: str = _checked_id(id_instance)
        self._token = _checked_token(token, self.id_instance)
        url = _checked_api_url(api_url, self._token)
        self.api_url: str = str(url).rstrip("/")
        http.check(url)
        self._http = http
        self.origin: str = f"{url.scheme}://{url.netloc.decode()}"
        self._limiter = http.limiter(period, self.origin, self.id_instance)
        self._period = period
        self._closed = False

    def sibling(self, id_instance: object, token: Secret, *, api_url: object) -> Self:
        """Return another instance over the same `Http`; one with the same id and host shares its rate."""
        return type(self)(self._http, id_instance, token, api_url=api_url, period=self._period)

    def close(self) -> None:
        """Accept no more requests, and end all waits here; closing the `Http` is up to its owner."""
        self._closed = True
        self._http.end_waits(self)

    def until_closed(self) -> AbstractContextManager[None]:
        """End the body with a `ClientClosedError` when this is closed, or the `Http` underneath."""
        return self._http.until_closed(self)

    def check_open(self) -> None:
        """Raise `ClientClosedError` if this, or the `Http` underneath, is closed."""
        if self._closed or self._http.closed:
            raise ClientClosedError("this client is closed: make a new one")

    async def statuses(self, minutes: int | None) -> list[Status]:
        """Return the statuses of the last `minutes`, oldest first; None is the API's default.

        Raises what `page` raises.
        """
        _, statuses = await self._requested(minutes, read)
        return statuses or []

    async def page(self, minutes: int | None) -> Answer:
        """Request the last `minutes`, and find out which statuses they hold.

        Raises:
            ClientClosedError: this, or the client underneath, is closed.
            TransportError: no complete response arrived within the timeout.
            ResponseError: the API refused.
            BodyTooLargeError: the response is larger than `max_body`.
            DecodeError: the response is wrongly compressed, or not an array of statuses.
        """
        response, page = await self._requested(minutes, scan)
        return Answer(
            page=page,
            date=_date(response.headers.get("date", "")),
            cached=response.headers.get("age", "0").strip() not in {"", "0"},
            duration=response.duration,
        )

    async def _requested(
        self, minutes: int | None, decode: Callable[[bytes], Awaitable[_T]]
    ) -> tuple[Response, _T | None]:
        """Send one request; errors leave here without bodies or objects of the HTTP library."""
        self.check_open()
        try:
            response = await self._response(minutes)
            array = refusals.array_in(response.body, headers=response.headers, quotable=self._token.quotable)
            return response, None if array is None else await decode(array)
        except GreenApiError as error:
            failure = sealed(error)

        raise failure

    async def _response(self, minutes: int | None) -> Response:
        try:
            return await self._exchange(minutes)
        except BaseException as error:  # noqa: BLE001 - it is raised again unchanged.
            # The frames below show the URL to whoever prints a traceback with locals, even that of a Ctrl-C.
            raise sealed(error)  # noqa: B904 - it is the same exception.

    async def _exchange(self, minutes: int | None) -> Response:
        url = self._url(minutes)
        with on_the_wire(self._token):
            response = await self._http.get(url, self._limiter, owner=self, quotable=self._token.quotable)

        if refusals.says_nothing(response.http_code, response.headers, response.body):
            return attrs.evolve(response, body=b"")

        if response.http_code != 200:
            raise refusals.refusal(
                response.http_code,
                response.headers,
                response.body,
                self._token.quotable,
                token_sent=url.was_read,
            )

        # A short made-up token may be a word in somebody's text.
        if self._token.is_distinctive or response.body.lstrip()[:1] != b"[":
            response = attrs.evolve(response, body=await redacted(response.body, self._token))

        return response

    def _url(self, minutes: int | None) -> MaskedURL:
        query = "" if minutes is None else f"?minutes={minutes}"
        url = f"{self.api_url}/waInstance{self.id_instance}/getIncomingStatuses/{MASK}{query}"
        return MaskedURL(url, self._token)


def _checked_id(id_instance: object) -> str:
    digits = str(id_instance)
    if isinstance(id_instance, bool) or not (digits.isascii() and digits.isdigit()):
        raise ConfigurationError(
            "id_instance must be digits, as shown in the console (GREEN_API_ID_INSTANCE)"
        )

    return digits


def _checked_token(token: Secret, id_instance: str) -> Secret:
    if not token.reveal():
        raise ConfigurationError(
            f"api_token_instance must be a string without whitespace, and that of instance {id_instance} is not "
            "(GREEN_API_TOKEN_INSTANCE)"
        )

    return token


def _checked_api_url(api_url: object, token: Secret) -> "httpx.URL":
    """Return the address: https only, and http for loopback; a path is kept."""
    text = url_text(api_url)
    if token.is_pasted_in(text):
        raise ConfigurationError(
            "api_url must be only the address, like https://1101.api.green-api.com: the id and the token are "
            "separate arguments (GREEN_API_URL)"
        )

    url = parsed_url(text) if text and not {"?", "#", "@"} & set(text) else None
    if url is None:
        raise ConfigurationError("api_url must look like https://1101.api.green-api.com (GREEN_API_URL)")

    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ConfigurationError(
            "api_url must begin with https://, because it carries the token (GREEN_API_URL)"
        )

    return url


@functools.lru_cache(maxsize=16)
def _date(header: str) -> float | None:
    try:
        moment = parsedate_to_datetime(header)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
