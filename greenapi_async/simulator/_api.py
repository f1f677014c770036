"""GREEN-API without sockets: its state, and the response to each request."""

import gzip
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import attrs

from greenapi_async.simulator._control import PREFIX, control
from greenapi_async.simulator._downloads import Media, download
from greenapi_async.simulator._feed import Feed
from greenapi_async.simulator._messages import JSON, Received, Request, Response, build_response
from greenapi_async.simulator._queue import FaultQueue
from greenapi_async.simulator._refusals import refusal
from greenapi_async.simulator._statuses import HasId, Kind, content, id_to_delete, status
from greenapi_async.simulator.faults import Exchange, Fault

_CALL = re.compile(r"/waInstance(?P<id>[^/]*)/getIncomingStatuses/(?P<token>[^/]+)")
_INSTANCE = re.compile(r"/waInstance(?P<id>[^/]*)(?:/.*)?")
_MEDIA_PATH = "/media/"
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DEFAULT_MINUTES = 1440
_GZIP_ABOVE = 1024
_RATE_TOLERANCE = 0.95


class Api:
    """One instance of GREEN-API: what it stores, and how it responds.

    Attributes:
        id_instance: the instance id that a request must have.
        token: the token that a request must have.
        clock: returns the server's time in seconds since the epoch; can be replaced at any time.
        contacts: the account's contact book as sender ids; None shows everyone's statuses.
        faults: each request to getIncomingStatuses takes one from the left; None gives a regular response.
        media_faults: the same for downloads.
        media: the files under `/media/`, by name.
        requests: the requests to getIncomingStatuses so far.
    """

    def __init__(
        self,
        *,
        id_instance: str,
        token: str | None,
        host: str,
        port: int,
        base_path: str,
        clock: Callable[[], float],
        max_rate: float | None,
        contacts: Collection[str] | None,
    ) -> None:
        self.id_instance = id_instance
        self.token: str = token or secrets.token_hex(25)
        self.clock = clock
        self.contacts = contacts
        self._faults = FaultQueue()
        self._media_faults = FaultQueue()
        self.media: dict[str, Media] = {}
        self.requests: list[Received] = []
        self._host = host
        self._port = port
        self._base_path = f"/{base_path.strip('/')}".rstrip("/")
        self._spacing = _RATE_TOLERANCE / max_rate if max_rate else 0.0
        self._last_admitted: float | None = None
        self._feed = Feed()

    @property
    def faults(self) -> FaultQueue:
        """The faults to come: each request to getIncomingStatuses takes one from the left; None changes nothing."""
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[Fault | None]) -> None:
        self._faults = faults if isinstance(faults, FaultQueue) else FaultQueue(faults)

    @property
    def media_faults(self) -> FaultQueue:
        """The same for downloads: each request for a file takes one from the left."""
        return self._media_faults

    @media_faults.setter
    def media_faults(self, faults: Iterable[Fault | None]) -> None:
        self._media_faults = faults if isinstance(faults, FaultQueue) else FaultQueue(faults)

    @property
    def origin(self) -> str:
        """Scheme, host and, once known, port."""
        host = f"[{self._host}]" if ":" in self._host else self._host

        return f"http://{host}:{self._port}" if self._port else f"http://{host}"

    @property
    def url(self) -> str:
        """The `api_url` for a client of this instance."""
        return self.origin + self._base_path

    @property
    def env(self) -> dict[str, str]:
        """The variables that point `AsyncStatusesClient.from_env()`, or another program, at this instance."""
        return {
            "GREEN_API_ID_INSTANCE": self.id_instance,
            "GREEN_API_TOKEN_INSTANCE": self.token,
            "GREEN_API_URL": self.url,
        }

    def post(
        self,
        kind: Kind = "text",
        *,
        text: str = "Доброе утро",
        caption: str = "",
        sender: str = "79001234567@c.us",
        sender_name: str | None = "Анна",
        sender_contact_name: str | None = "Аня",
        of: "str | Mapping[str, Any] | HasId | None" = None,
        late: float = 0.0,
        at: float | None = None,
        address_after: float = 0.0,
        file_after: float = 0.0,
        **fields: Any,
    ) -> dict[str, Any]:
        """Post a status and return it as the API's JSON object, with a new `idMessage`.

        Media files are served by this simulator, so it must be listening before they are posted.

        Args:
            kind: the type of status.
            text: the text of a text status.
            caption: the caption of a media status.
            sender: `chatId` and `senderId`.
            sender_name: `senderName`; None leaves it out.
            sender_contact_name: `senderContactName`; None leaves it out.
            of: the status that a `"deleted"` one deletes: what `post` returned, one that a client received, or its
                `idMessage`, which is then also that of the deletion.
            late: how many seconds in the past its timestamp is.
            at: its timestamp in UNIX seconds, in place of `late`.
            address_after: seconds until a media status has its `downloadUrl`, which is empty until then.
            file_after: seconds until its file is there; requests for it get 404 until then.
            fields: fields of the JSON object to add or replace; None removes one.

        Raises:
            TypeError: `of` is neither a status nor an id.
            ValueError: there is no such kind, or `of` is missing for `"deleted"`, given for another kind, or without an
                id.
        """
        now = self.clock()
        body = content(
            kind, text=text, caption=caption, media_url=f"{self.origin}/media", number=len(self._feed)
        )
        complete = status(
            body,
            id_message=id_to_delete(kind, of) or secrets.token_hex(16).upper(),
            timestamp=int(now - late if at is None else at),
            sender=sender,
            names={"senderName": sender_name, "senderContactName": sender_contact_name},
        )
        item = {name: value for name, value in (complete | fields).items() if value is not None}
        for name, media in body.media.items():
            self.media[name] = attrs.evolve(media, since=now + file_after if file_after else 0.0)

        early = item | {"downloadUrl": ""}
        self._feed.add(item, now=now, early=early, complete_at=now + address_after if address_after else 0.0)

        return item

    def post_raw(self, item: Any) -> None:
        """Post any JSON value unchanged, or raw bytes, for example invalid UTF-8."""
        self._feed.add(item, now=self.clock())

    def respond(self, request: Request) -> Response:
        """Return the response to a request. Only those parts of a fault apply that change the response itself."""
        return self.decide(request)[0]

    def decide(self, request: Request) -> tuple[Response, Fault]:
        """Return the response to a request, and the fault that will send it."""
        response, fault = self._route(request, now=self.clock())

        return (attrs.evolve(response, body=b"") if request.method == "HEAD" else response), fault

    def _route(self, request: Request, *, now: float) -> tuple[Response, Fault]:
        if request.path.startswith(_MEDIA_PATH):
            return self._download(request, now=now)

        if request.path.startswith(PREFIX):
            return control(request, post=self.post, queue=self.faults, now=now), Fault()

        path = request.path.removeprefix(self._base_path) if request.path.startswith(self._base_path) else ""
        call = _CALL.fullmatch(path)

        if call is not None and request.method == "GET":
            return self._incoming_statuses(request, call["id"], call["token"], now=now)

        return self._not_found(request, path, now=now), Fault()

    def _download(self, request: Request, *, now: float) -> tuple[Response, Fault]:
        fault = self.media_faults.take()
        regular = download(self.media.get(request.path.removeprefix(_MEDIA_PATH)), request, now=now)

        return fault.answer(Exchange(request=request, regular=regular, now=now)), fault

    def _incoming_statuses(
        self, request: Request, id_instance: str, token: str, *, now: float
    ) -> tuple[Response, Fault]:
        fault = self.faults.take()
        regular = self._regular_response(fault.ask(request), id_instance, token, now=now)
        response = fault.answer(Exchange(request=request, regular=regular, now=now))
        self.requests.append(Received(minutes=_minutes(request), http_code=response.http_code, at=now))

        return response, fault

    def _not_found(self, request: Request, path: str, *, now: float) -> Response:
        instance = _INSTANCE.fullmatch(path)

        if instance is not None and instance["id"] != self.id_instance:
            return refusal(403, path=request.path, now=now)

        # The real API echoes the path as well, token included.
        return refusal(404, path=request.path, now=now, message=f"Cannot {request.method} {request.target}")

    def _regular_response(self, request: Request, id_instance: str, token: str, *, now: float) -> Response:
        if id_instance != self.id_instance:
            return refusal(403, path=request.path, now=now)

        if not self._admit(now):
            return refusal(429, path=request.path, now=now)

        if unquote(token) != self.token:
            return refusal(401, path=request.path, now=now)

        minutes = _minutes(request) if _has_minutes(request) else _DEFAULT_MINUTES

        if minutes is None or minutes < 1:
            return refusal(400, path=request.path, now=now, message="bad request data")

        body = self._feed.json_array(minutes, now=now, contacts=self.contacts)
        response = build_response(200, body, content_type=JSON, now=now)
        return _compressed(response) if "gzip" in request.header("Accept-Encoding") else response

    def _admit(self, now: float) -> bool:
        """Apply the rate limit: every request counts, except those refused with 429."""
        if self._last_admitted is not None and 0 <= now - self._last_admitted < self._spacing:
            return False

        self._last_admitted = now
        return True


def _has_minutes(request: Request) -> bool:
    return "minutes" in parse_qs(request.query, keep_blank_values=True)


def _minutes(request: Request) -> int | None:
    values = parse_qs(request.query, keep_blank_values=True).get("minutes", [""])

    return int(values[0]) if _INTEGER.fullmatch(values[0]) else None


def _compressed(response: Response) -> Response:
    if len(response.body) <= _GZIP_ABOVE:
        return response

    body = gzip.compress(response.body, compresslevel=1, mtime=0)
    kept = [(name, value) for name, value in response.headers if name != "Content-Length"]
    headers = [*kept, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
    return attrs.evolve(response, headers=headers, body=body)
