"""Saves the statuses that `watch` prints, reports failed downloads, and retries those that may still succeed."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import attrs

from greenapi_async._media import save as media
from greenapi_async._media.attachment import has_file
from greenapi_async._media.unfinished import unfinished
from greenapi_async.cli.terminal import sanitized
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.errors import DirectoryError, GreenApiError, MediaError, TransportError
from greenapi_async.events import Event, Polled
from greenapi_async.models import MediaStatus, Status, UnknownStatus

_KEPT = timedelta(days=1)
_WithFile: TypeAlias = MediaStatus | UnknownStatus
Progress: TypeAlias = Callable[[int, int | None], None]


@attrs.define(eq=False, kw_only=True)
class StatusSaver:
    """Saves statuses in a directory: each as JSON, with its file if it has one.

    A status whose file may still come is kept, and retried after each poll. It is also kept on disk, as JSON without a
    file, from which the next start continues.

    Attributes:
        client: downloads the files.
        directory: where to save.
        notify: called with each line about a download that failed, or that succeeded later.
        next_try: when a failed download is retried.
        progress_of: returns a context in which the progress of a status' download is shown, if at all.
    """

    client: AsyncStatusesClient
    directory: Path
    notify: Callable[[str], None]
    next_try: str = "after each poll, and at the next start"
    progress_of: Callable[[_WithFile], AbstractContextManager[Progress | None]] = lambda _: nullcontext()
    _kept: dict[str, _WithFile] = attrs.field(factory=dict, init=False)
    _wake_up: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _is_over: bool = attrs.field(default=False, init=False)
    _failure: GreenApiError | None = attrs.field(default=None, init=False)

    async def prepare(self) -> None:
        """Create the directory, and find what an earlier run did not finish.

        Raises:
            DirectoryError: it cannot be created or read.
        """
        await media.make_directory(self.directory)
        statuses = await unfinished(self.directory, datetime.now(UTC) - _KEPT)
        self._kept = {status.key: status for status in statuses}

    async def save(self, status: Status) -> Path | None:
        """Save a status, and return the path of its picture, video or voice note, if any.

        A failed download is reported, and only the JSON is kept.

        Raises:
            DirectoryError: the directory cannot be written to, so continuing is pointless.
        """
        sidecar = await media.save_sidecar(status, self.directory)
        if not has_file(status):
            return None

        result = await self._file(status)
        if isinstance(result, Path):
            return result

        if result.retryable:
            self._kept[status.key] = status
            self.notify(sanitized(f"not saved yet: {result}; retried {self.next_try}"))
        else:
            self.notify(sanitized(f"not saved: {result}; its JSON is in {sidecar}"))

        return None

    @asynccontextmanager
    async def retrying(self) -> AsyncGenerator[None]:
        """Retry what is kept, at once and after each poll, while the body runs; retries under way are finished.

        Raises:
            DirectoryError: the directory cannot be written to.
        """
        raised: Exception | KeyboardInterrupt | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._retry_after_polls, tasks.cancel_scope)
            try:
                yield
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below, outside the group.
                raised = error
                tasks.cancel_scope.cancel()

            self._is_over = True
            self._wake_up.set()

        if raised := self._failure or raised:
            raise raised

    def notice(self, event: Event) -> None:
        """Retry soon, after a poll."""
        if isinstance(event, Polled):
            self._wake_up.set()

    async def _retry_after_polls(self, scope: anyio.CancelScope) -> None:
        while not self._is_over:
            self._wake_up = anyio.Event()
            async with anyio.create_task_group() as tasks:
                for status in [*self._kept.values()]:
                    tasks.start_soon(self._retry, status, scope)

            if not self._is_over:
                await self._wake_up.wait()

    async def _retry(self, status: _WithFile, scope: anyio.CancelScope) -> None:
        try:
            result = await self._file(status)
        except GreenApiError as error:
            self._failure = error
            scope.cancel()
            return

        if isinstance(result, Path):
            self.notify(sanitized(f"saved now: {result}"))
        elif not result.retryable or datetime.now(UTC) - status.posted_at > _KEPT:
            self.notify(sanitized(f"not saved: {result}; its JSON is in {self.directory}"))
        else:
            return

        self._kept.pop(status.key, None)

    async def _file(self, status: _WithFile) -> Path | MediaError | TransportError:
        """Return the path of the file, or why it could not be downloaded."""
        try:
            with self.progress_of(status) as progress:
                return await self.client.save_media(status, self.directory, progress=progress)
        except DirectoryError:
            raise
        except (MediaError, TransportError) as error:
            return error
