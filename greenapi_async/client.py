"""The client: checks arguments, and wires one instance, the store and the poller together."""

import functools
import operator
import os
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypedDict, TypeVar, Unpack, cast, get_args

import anyio

from greenapi_async._api.instance import Instance, UrlObject
from greenapi_async._api.token import is_token
from greenapi_async._family import Family, at_least, checked_hook, hidden, ladder
from greenapi_async._http.exchange import HttpxClient
from greenapi_async._polling.backoff import delay
from greenapi_async._polling.origin import Start
from greenapi_async.errors import ConfigurationError, GreenApiError, sealed
from greenapi_async.events import Event
from greenapi_async.models import MediaStatus, Status, UnknownStatus
from greenapi_async.poller import Delivery, StatusPoller
from greenapi_async.stores import Store

if TYPE_CHECKING:
    from greenapi_async._media.latest import LatestStatus
    from greenapi_async._media.refresh import Refresher
    from greenapi_async._media.save import Terms

DEFAULT_API_URL: Final = "https://api.green-api.com"
_T = TypeVar("_T")


class Settings(TypedDict, total=False):
    """The arguments of a client that do not identify its instance."""

    http_client: HttpxClient | None
    timeout: float | timedelta
    retries: int
    max_rate: float | None
    max_body: int
    clock: Callable[[], float]


class AsyncStatusesClient:
    """A client for one GREEN-API instance, on asyncio or trio.

    Use it in an `async with` block, or call `aclose` yourself.

    Args:
        id_instance: the instance's id: digits.
        api_token_instance: its token; never shown in a log, error or repr.
        api_url: the address that the console shows for the instance, as text or a URL object of httpx, yarl or
            pydantic: https, or http for loopback.
        http_client: an `httpx.AsyncClient` to use as it is; closing it is up to you.
        timeout: seconds, or a `timedelta`, for one whole request, body included.
        retries: how often `fetch` and `save_media` retry after a failure that may be temporary.
        max_rate: requests per second for this instance; calls wait their turn. The API allows 1; None disables the
            limit.
        max_body: the most bytes in a response, compressed or decompressed.
        clock: the wall clock in seconds since the epoch, for tests.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        id_instance: int | str,
        api_token_instance: str,
        *,
        api_url: str | UrlObject = "https://api.green-api.com",
        http_client: HttpxClient | None = None,
        timeout: float | timedelta = 60.0,
        retries: int = 2,
        max_rate: float | None = 1.0,
        max_body: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        token = hidden(api_token_instance)
        del api_token_instance  # From here on no traceback with locals shows it.

        self._shared = Family(
            http_client=http_client,
            timeout=timeout,
            retries=retries,
            max_rate=max_rate,
            max_body=max_body,
            clock=clock,
        )
        self._instance = Instance(
            self._shared.http, id_instance, token, api_url=api_url, period=self._shared.period
        )
        self._is_first = True

    @classmethod
    def from_env(cls, **settings: Unpack[Settings]) -> Self:
        """Return a client configured from the environment.

        It reads `GREEN_API_ID_INSTANCE`, `GREEN_API_TOKEN_INSTANCE` (or `GREEN_API_TOKEN_INSTANCE_FILE`, the path of a
        file with the token) and, optionally, `GREEN_API_URL`.

        Args:
            settings: the arguments of the class, from `http_client` on.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        return cls(
            _environment("GREEN_API_ID_INSTANCE"),
            _token_from_environment(),
            api_url=_checked_value("GREEN_API_URL", os.environ.get("GREEN_API_URL", "")) or DEFAULT_API_URL,
            **settings,
        )

    def for_instance(
        self, id_instance: int | str, api_token_instance: str, *, api_url: str | UrlObject | None = None
    ) -> Self:
        """Return a client for another instance that shares this one's connections, settings and stores.

        Clients for the same instance share its rate limit if they were made this way; separately made ones do not know
        of each other. Closing the first client closes the connections for all. `api_url` defaults to this client's.

        Raises:
            ConfigurationError: an argument is wrong; the message names it.
        """
        token = hidden(api_token_instance)
        del api_token_instance

        return self._of(
            self._shared,
            self._instance.sibling(
                id_instance, token, api_url=self._instance.api_url if api_url is None else api_url
            ),
        )

    @classmethod
    def _of(cls, shared: Family, instance: Instance) -> Self:
        """Return a client that closes nothing but itself."""
        client = cls.__new__(cls)
        client._instance = instance  # noqa: SLF001 - it is made here.
        client._shared, client._is_first = shared, False  # noqa: SLF001
        return client

    @property
    def http_client(self) -> HttpxClient:
        """The httpx client that sends every request, injected or our own; downloads do not go through it.

        Attach event hooks to it, or OpenTelemetry's `HTTPXClientInstrumentor.instrument_client`. They see a URL that
        shows `***` in place of the token. Do not send requests through it yourself: our own has no timeouts, because
        `timeout` limits each request as a whole.
        """
        return self._shared.http.client

    async def fetch(self, minutes: int | None = None) -> list[Status]:
        """Request the statuses of the last `minutes` once, and return them oldest first.

        Nothing is remembered: every request that reaches back to a status returns it. Failures that may be temporary
        are retried `retries` times. The vendor's page:
        https://green-api.com/en/docs/api/statuses/GetIncomingStatuses/

        Args:
            minutes: 1 or more; the API keeps 43,200 (30 days). None means the API's default, 1440.

        Raises:
            ConfigurationError: `minutes` is not a positive integer; nothing was sent.
            ClientClosedError: the client is closed.
            TransportError: no complete response arrived.
            ResponseError: the API refused; the subclass says why.
            DecodeError: the response is not an array of statuses.
            BodyTooLargeError: the response is larger than `max_body`.
        """
        if minutes is not None:
            at_least(1, "minutes", minutes)

        return await self._retrying(lambda: self._instance.statuses(minutes))

    def poll(
        self,
        interval: float | timedelta = 60.0,
        *,
        store: Store | str | os.PathLike[str] | None = None,
        start: Start = None,
        delivery: Delivery = "at-least-once",
        on_event: Callable[[Event], None] | None = None,
    ) -> StatusPoller:
        """Return a poller that yields every new status once.

        Args:
            interval: seconds, or a `timedelta`, from one request to the next, at most a day.
            store: where to remember what was handled: the path of a file, which the client opens as a `SQLiteStore` and
                closes, or a `Store`, which the caller closes. None keeps it in memory.
            start: where the first run begins; with a checkpoint in the store, polling continues from there instead.
                None yields everything still up (25 hours), `"now"` nothing from the past, a `timedelta` or an aware
                `datetime` what was posted since.
            delivery: `"at-least-once"` records a status when the next is requested, `"at-most-once"` before
                it is yielded.
            on_event: called with every event; an exception from it is logged and stops nothing.

        Raises:
            ConfigurationError: an argument is wrong; the message names it.
            ClientClosedError: the client is closed.
        """
        self._instance.check_open()

        if delivery not in get_args(Delivery):
            raise ConfigurationError('delivery must be "at-least-once" or "at-most-once"')

        return StatusPoller(
            self._instance,
            ladder=ladder(interval, start),
            store=self._shared.opened(store),
            delivery=delivery,
            on_event=checked_hook(on_event),
            clock=self._shared.clock,
        )

    async def save_media(
        self,
        status: MediaStatus | UnknownStatus,
        directory: str | os.PathLike[str],
        *,
        progress: Callable[[int, int | None], None] | None = None,
        max_bytes: int = 100 * 1024 * 1024,
        allow_loopback: bool = False,
    ) -> Path:
        """Download the picture, video or voice note of a status, and return the path of the file.

        The directory is created if missing. The name is made from the time, sender and id, never from `file_name`:
        `20261122T215800Z_79001234567_3EB0C431C26A1916E07A.jpg`, and beside it `….json`, the API's own object, which is
        kept even if the download fails. An existing file is returned at once. An interrupted download is kept as
        `….part`, and the next call resumes it. If the same status is saved twice at the same time, even in another
        process, the second call waits and returns the same file. Files are readable only by their owner.

        If the address of a status younger than a day is missing or responds with 403, 404 or 410, it is requested from
        the API again, once; such requests share one response for a minute. While the status is younger than ten
        minutes, that failure is retryable, because the file may still come.

        Only https to public addresses is allowed, no redirects are followed, and neither the token nor anything of an
        injected `http_client` is sent. A proxy from the environment is used, and must then check the address. Files
        come from this machine only if `api_url` is there too, and only from its origin, as the simulator's do. Failures
        that may be temporary are retried `retries` times. `timeout` is how long a download may stall; less than 4
        KiB a second counts as stalled. Eight downloads from one origin run at once, and 32 in all; the others wait.

        Args:
            status: an `ImageStatus`, `VideoStatus` or `AudioStatus`, or an `UnknownStatus` that has an address.
            directory: where to save it.
            progress: called with the bytes so far and the file's size, or None if the server does not say; an exception
                from it ends the download.
            max_bytes: how large a file may be.
            allow_loopback: whether files may come from anywhere on this machine, over http too.

        Raises:
            ConfigurationError: an argument is wrong.
            ClientClosedError: the client is closed.
            MediaError: there is nothing to download, it was refused, or is not what it said.
            DirectoryError: the directory cannot be written to.
            TransportError: no complete response arrived.
        """
        from greenapi_async._media.save import save_media  # noqa: PLC0415 - a tenth of the import, for those who save.

        terms = self._terms(max_bytes, progress=progress, allow_loopback=allow_loopback)
        return await self._downloading(status, lambda wanted: save_media(wanted, Path(directory), terms))

    async def media_bytes(
        self,
        status: MediaStatus | UnknownStatus,
        *,
        max_bytes: int = 100 * 1024 * 1024,
        allow_loopback: bool = False,
    ) -> bytes:
        """Download the picture, video or voice note of a status, and return its bytes; nothing is written to disk.

        Everything else is as in `save_media`.

        Args:
            status: one with a file.
            max_bytes: how large a file may be.
            allow_loopback: whether files may come from anywhere on this machine, over http too.

        Raises:
            ConfigurationError: an argument is wrong.
            ClientClosedError: the client is closed.
            MediaError: there is nothing to download, it was refused, or is not what it said.
            TransportError: no complete response arrived.
        """
        from greenapi_async._media.memory import MemoryFile  # noqa: PLC0415 - as above.
        from greenapi_async._media.save import media_bytes  # noqa: PLC0415

        terms, file = self._terms(max_bytes, allow_loopback=allow_loopback), MemoryFile()
        return await self._downloading(status, lambda wanted: media_bytes(wanted, file, terms))

    async def aclose(self) -> None:
        """Close the client, and its connections and stores unless somebody else owns them. Idempotent."""
        self._instance.close()
        if self._is_first:
            with anyio.CancelScope(shield=True):
                await self._shared.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        try:
            return f"<AsyncStatusesClient of {self._instance.id_instance} at {self._instance.api_url}>"
        except AttributeError:  # A traceback with locals shows a client whose arguments were refused.
            return "<AsyncStatusesClient>"

    def _terms(
        self,
        max_bytes: int,
        *,
        progress: Callable[[int, int | None], None] | None = None,
        allow_loopback: bool,
    ) -> "Terms":
        from greenapi_async._media.save import Terms  # noqa: PLC0415 - as above.

        return Terms(
            home=self._instance.api_url,
            allow_loopback=allow_loopback,
            max_bytes=at_least(1, "max_bytes", max_bytes),
            progress=progress,
            timeout=self._shared.timeout,
        )

    async def _downloading(
        self, status: MediaStatus | UnknownStatus, attempt: Callable[["LatestStatus"], Awaitable[_T]]
    ) -> _T:
        from greenapi_async._media.latest import LatestStatus  # noqa: PLC0415 - as above.

        known = cast("Status", status)  # A `MediaStatus` is one of its three subclasses.
        wanted = LatestStatus(known, functools.partial(self._refresher.refreshed, known), self._shared.clock)

        async def attempt_until_closed() -> _T:
            with self._instance.until_closed():
                return await attempt(wanted)

        return await self._retrying(attempt_until_closed, may_help=wanted.may_help)

    @functools.cached_property
    def _refresher(self) -> "Refresher":
        from greenapi_async._media.refresh import Refresher  # noqa: PLC0415 - as above.

        return Refresher(self._instance.statuses, self._shared.clock)

    async def _retrying(
        self,
        attempt: Callable[[], Awaitable[_T]],
        *,
        may_help: Callable[[GreenApiError], bool] = operator.attrgetter("retryable"),
    ) -> _T:
        """Try, and retry `retries` times if that may help."""
        failures = 0
        while True:
            self._instance.check_open()
            try:
                return await attempt()
            except GreenApiError as error:
                failure = sealed(error)

            failures += 1
            wait = delay(failure, failures, random.random())  # noqa: S311 - spreads retries.
            if not may_help(failure) or failures > self._shared.retries or wait > self._shared.timeout:
                raise failure

            with self._instance.until_closed():
                await anyio.sleep(wait)


def client_of(family: Family, instance: Instance) -> AsyncStatusesClient:
    """Return a client of an instance of that family; closing it closes nothing else."""
    return AsyncStatusesClient._of(family, instance)  # noqa: SLF001 - it is the same module's.


def _environment(name: str) -> str:
    value = _checked_value(name, os.environ.get(name, ""))
    if not value:
        raise ConfigurationError(f"{name} is not set: export the value that the console shows")

    return value


def _checked_value(name: str, value: str) -> str:
    """Return it without surrounding whitespace; refuse what only a shell would interpret."""
    value = value.strip()
    if value[:1] in {'"', "'"} and value[:1] == value[-1:]:
        del value
        raise ConfigurationError(f"{name} is in quotes: remove them, `docker run --env-file` does not")

    if value.startswith(("${", "$(", "{{")):
        del value
        raise ConfigurationError(f"{name} is a placeholder that was never replaced: write the value itself")

    return value


def _token_from_environment() -> str:
    path = os.environ.get("GREEN_API_TOKEN_INSTANCE_FILE", "")
    if not path or os.environ.get("GREEN_API_TOKEN_INSTANCE"):
        return _environment("GREEN_API_TOKEN_INSTANCE")

    token, problem = _read_token(path)
    if token is None:
        raise ConfigurationError(f"GREEN_API_TOKEN_INSTANCE_FILE names a file that cannot be read{problem}")

    token = _checked_value("the file that GREEN_API_TOKEN_INSTANCE_FILE names", token)
    if not is_token(token):
        del token
        raise ConfigurationError(
            "GREEN_API_TOKEN_INSTANCE_FILE names a file without a token: it must contain the token and nothing else"
        )

    return token


def _read_token(path: str) -> tuple[str | None, str]:
    """Return the file's content, or None and why it cannot be read; a chained error would show the content."""
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip(), ""
    except OSError as error:
        return None, f": {error.strerror}"
    except ValueError:
        return None, " as UTF-8"
