"""The tree of what can go wrong: one root, data in attributes, never a secret."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar

_Error = TypeVar("_Error", bound=BaseException)


class GreenApiError(Exception):
    """Is the root of every error this library raises on purpose.

    Every one of them pickles, carries no object of the HTTP library, and never holds the token.
    """

    retryable: bool = False
    """Whether time alone can heal it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[GreenApiError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> GreenApiError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


class ConfigurationError(GreenApiError, ValueError):
    """A wrong argument or environment variable; the message names it."""


class ClientClosedError(GreenApiError):
    """The client was used after it, or the one it shares connections with, had been closed."""


class TransportError(GreenApiError):
    """No whole answer came: DNS, connect, TLS, reset, truncated or too slow.

    Attributes:
        timeout: whether the time for one whole request ran out.
        refused: `"certificate"` where the server's TLS certificate was refused, `"proxy"` where a proxy refused its
            user or password, else None.
        retryable: false where something was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        timeout: bool = False,
        retryable: bool = True,
        refused: Literal["certificate", "proxy"] | None = None,
    ) -> None:
        super().__init__(message)
        self.timeout = timeout
        self.refused = refused
        self.retryable: bool = retryable and refused is None


class ResponseError(GreenApiError):
    """An answer that refuses.

    Attributes:
        http_code: the HTTP status code.
        message: what the API said, redacted and cut, or what the code means where it said nothing.
    """

    default_http_code: ClassVar[int] = 400

    def __init__(self, message: str, *, http_code: int | None = None) -> None:
        super().__init__(message)
        self.http_code: int = self.default_http_code if http_code is None else http_code

    def __str__(self) -> str:
        return f"HTTP {self.http_code}: {self.message}"


class AuthenticationError(ResponseError):
    """401: the API does not know this token."""

    default_http_code = 401


class AccessDeniedError(ResponseError):
    """403: no beta access, an instance that does not live on this host, or a suspended account."""

    default_http_code = 403


class NotFoundError(ResponseError):
    """404: no such method at this address."""

    default_http_code = 404


class InstanceNotReadyError(ResponseError):
    """The instance is starting, or its WhatsApp account is not authorized.

    Attributes:
        reason: `"starting"` (seconds heal it) or `"not authorized"` (a person must scan the QR code).
    """

    def __init__(self, message: str, *, http_code: int | None = None, reason: str = "starting") -> None:
        super().__init__(message, http_code=http_code)
        self.reason = reason
        self.retryable: bool = reason == "starting"

    def __str__(self) -> str:
        advice = "it will be ready soon" if self.retryable else "scan the QR code in the console"
        return f"{super().__str__()}: {advice}"


class BadRequestError(ResponseError):
    """400 and other 4xx that nothing but a change of the request or the account heals."""


class RateLimitedError(ResponseError):
    """429: more than one request a second; usually a second poller of the same instance.

    Attributes:
        retry_after: seconds the server asked to wait, or None where it did not say.
    """

    default_http_code = 429
    retryable = True

    def __init__(
        self, message: str, *, http_code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, http_code=http_code)
        self.retry_after = retry_after


class QuotaExceededError(ResponseError):
    """466: the plan's quota is used up, until next month or another plan.

    Attributes:
        method: the API method the quota is for.
        used: how many calls were made, or None.
        total: how many the plan allows, or None.
        description: the vendor's own words, or None.
    """

    default_http_code = 466

    def __init__(
        self,
        message: str,
        *,
        http_code: int | None = None,
        method: str | None = None,
        used: int | None = None,
        total: int | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(message, http_code=http_code)
        self.method = method
        self.used = used
        self.total = total
        self.description = description


class ServerError(ResponseError):
    """499, 5xx and anything else that is the server's own trouble."""

    default_http_code = 500
    retryable = True


class UnexpectedRedirectError(ServerError):
    """3xx: the API never redirects, so a proxy or a captive portal answered.

    Attributes:
        location: the host it points to, and nothing else of it; None where it named none.
    """

    default_http_code = 302

    def __init__(self, message: str, *, http_code: int | None = None, location: str | None = None) -> None:
        super().__init__(message, http_code=http_code)
        self.location = location


class DecodeError(GreenApiError):
    """200, but not a JSON array: a web page, half a JSON, an object."""

    retryable = True


class BodyTooLargeError(GreenApiError):
    """The answer is larger than `max_body`, on the wire or unpacked.

    Attributes:
        limit: the bound in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes: ask for fewer minutes or raise max_body")
        self.limit = limit


class MediaError(GreenApiError):
    """A download that was refused, is not what it said, or cannot be kept.

    Attributes:
        http_code: the media server's HTTP status code where that refused, else None.
        retryable: true where the server may come round, 429 and 5xx for example.
    """

    def __init__(self, message: str, *, http_code: int | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.http_code = http_code
        self.retryable: bool = retryable


class DirectoryError(MediaError):
    """The directory takes nothing: the disk is full, for example.

    Attributes:
        http_code: always None.
        retryable: true, for space may be freed.
    """


class RetentionGapError(GreenApiError):
    """Statuses may have come and gone unseen: the API keeps them for 30 days only.

    The poller does not raise it: it keeps it in `health.gaps`.

    Attributes:
        lost_from: when the unseen time begins (aware, UTC).
        lost_to: when it ends.
    """

    def __init__(self, lost_from: datetime, lost_to: datetime) -> None:
        super().__init__(
            f"statuses from {lost_from:%Y-%m-%d %H:%M} to {lost_to:%Y-%m-%d %H:%M} UTC are lost: "
            "polling paused for longer than the 30 days that the API keeps them"
        )
        self.lost_from = lost_from
        self.lost_to = lost_to


class StoreError(GreenApiError):
    """The store failed; the poller never goes on without it."""


def sealed(error: _Error) -> _Error:
    """Return the error without the frames and causes it came through: those hold bodies and requests."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
