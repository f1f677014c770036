"""A status whose file is wanted, as last sent by the API: a dead address is requested again, once."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import attrs

from greenapi_async._http.failures import may_come
from greenapi_async._media.attachment import Attachment, attachment
from greenapi_async.errors import DirectoryError, GreenApiError, MediaError
from greenapi_async.models import Status

Refresh: TypeAlias = Callable[[], Awaitable[Status | None]]

_KEPT: Final = 86_400.0  # An address is valid for a day.
_COMING: Final = 600.0
_Result = TypeVar("_Result")


@attrs.define(eq=False)
class LatestStatus:
    """A status whose file is wanted.

    Attributes:
        original: as passed by the caller; it determines the file's name even if the status changes.
        status: as last sent by the API.
    """

    original: Status
    _refresh: Refresh
    _clock: Callable[[], float]
    status: Status = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.original, takes_self=True)
    )
    _has_refreshed: bool = attrs.field(init=False, default=False)

    async def attempt(self, work: Callable[[Attachment], Awaitable[_Result]]) -> _Result:
        """Return the result of `work` on the file, with the current address if the first one is dead.

        Raises:
            MediaError: the status has no file, or `work` failed; retryable while the file may still come.
        """
        try:
            return await self._attempt(work)
        except MediaError as error:
            if not self._is_missing(error) or self._has_refreshed or self._age >= _KEPT:
                raise

            first_error = error

        if not await self._renew():
            raise first_error

        return await self._attempt(work)

    def may_help(self, error: GreenApiError) -> bool:
        """Return whether another attempt may help: not if there is still no address after requesting it."""
        found = attachment(self.status)
        return error.retryable and not (self._has_refreshed and found is not None and found.may_come)

    async def _attempt(self, work: Callable[[Attachment], Awaitable[_Result]]) -> _Result:
        found = attachment(self.status)
        if found is None:
            raise MediaError(f"nothing to download: this {self.status.kind} status has no file")

        try:
            return await work(found)
        except MediaError as error:
            if self._is_missing(error):
                error.retryable = self._age < _COMING
            raise

    async def _renew(self) -> bool:
        """Request the status again, and return whether it has an address."""
        self._has_refreshed = True
        fresh = await self._refresh()
        found = None if fresh is None else attachment(fresh)
        if fresh is None or found is None or found.may_come:
            return False

        self.status = fresh
        return True

    def _is_missing(self, error: MediaError) -> bool:
        """Return whether the address is missing, or has no file."""
        if error.http_code is not None:
            return may_come(error.http_code)

        found = attachment(self.status)
        return found is not None and found.may_come and not isinstance(error, DirectoryError)

    @property
    def _age(self) -> float:
        return self._clock() - self.original.timestamp
