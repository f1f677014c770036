"""Save the picture, video or voice note of a status: complete, once, and only if it is of the declared type."""

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import attrs

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async._media import filetype, part
from greenapi_async._media.attachment import Attachment
from greenapi_async._media.disk import DiskFile, on_disk
from greenapi_async._media.download import Source, download, source
from greenapi_async._media.latest import LatestStatus
from greenapi_async._media.memory import MemoryFile
from greenapi_async._media.name import stem
from greenapi_async._media.places import place
from greenapi_async._media.receiver import File, Progress, receive_file
from greenapi_async.errors import DirectoryError, MediaError
from greenapi_async.models import Status

_LOCK_RETRY_INTERVAL: Final = 0.1


@attrs.frozen(kw_only=True)
class Terms:
    """Where a file may come from, and how.

    Attributes:
        home: the API's address: if it is on this machine, files may come from there, too.
        allow_loopback: whether files may come from anywhere else on this machine.
        max_bytes: how large a file may be.
        progress: called with the bytes so far, and the file's size or None.
        timeout: how many seconds a download may stall.
    """

    home: str
    allow_loopback: bool
    max_bytes: int
    progress: Progress | None
    timeout: float


async def save_media(wanted: LatestStatus, directory: Path, terms: Terms) -> Path:
    """Save a status' file in one attempt, and return its path; see `AsyncStatusesClient.save_media`."""
    name = stem(wanted.original)

    async def save(attachment: Attachment) -> Path:
        final = directory / f"{name}{filetype.extension(attachment.mime_type)}"
        sidecar, json = directory / f"{name}.json", _json(wanted.status)
        await on_disk(directory, _write_sidecar, sidecar, json)

        # An earlier file may lack the address that is used now.
        return await _save(attachment, final, terms, functools.partial(_replace_sidecar, sidecar, json))

    return await wanted.attempt(save)


async def media_bytes(wanted: LatestStatus, file: MemoryFile, terms: Terms) -> bytes:
    """Return a status' file in one attempt; what arrived is kept for the next."""

    async def read(attachment: Attachment) -> bytes:
        origin = _source(attachment, terms)
        async with place(origin.origin, terms.timeout) as moved:
            await _receive(file, origin, attachment, terms, moved)

        return bytes(file.content)

    return await wanted.attempt(read)


async def save_sidecar(status: Status, directory: Path) -> Path:
    """Write a status as the API's JSON object, unless the file exists, and return its path.

    Raises:
        DirectoryError: it cannot be written.
    """
    path = directory / f"{stem(status)}.json"
    await on_disk(directory, _write_sidecar, path, _json(status))
    return path


async def make_directory(directory: Path) -> None:
    """Create a directory and its parents, unless it exists.

    Raises:
        DirectoryError: it cannot be created.
    """
    await on_disk(directory, _mkdir, directory)


async def _save(
    attachment: Attachment, final: Path, terms: Terms, replace_sidecar: Callable[[], None]
) -> Path:
    other = _OtherWriter(final, terms.timeout)
    while not await on_disk(final.parent, part.is_finished, final):
        origin = _source(attachment, terms)
        async with place(origin.origin, terms.timeout) as moved:
            claimed = await on_disk(final.parent, part.claim, final)
            if claimed is not None:
                async with _written(DiskFile(final.parent, claimed)) as file:
                    await on_disk(final.parent, replace_sidecar)
                    await _receive(file, origin, attachment, terms, moved)

        if claimed is None:
            await other.wait()

    return final


async def _receive(
    file: File, origin: Source, attachment: Attachment, terms: Terms, moved: Callable[[], None]
) -> None:
    await receive_file(
        file,
        functools.partial(download, origin, timeout=terms.timeout),
        mime_type=attachment.mime_type,
        max_bytes=terms.max_bytes,
        progress=terms.progress,
        moved=moved,
    )


@asynccontextmanager
async def _written(file: DiskFile) -> AsyncGenerator[DiskFile]:
    """Publish the file if the body receives it; keep the partial one if interrupted, delete it if refused."""
    try:
        yield file
        with anyio.CancelScope(shield=True):  # A complete file must not be downloaded again.
            await file.publish()
    except MediaError as error:
        if not error.retryable or isinstance(error, DirectoryError):
            await file.discard()  # On a full disk, free the space.
        raise
    finally:
        await file.close()


def _source(attachment: Attachment, terms: Terms) -> Source:
    return source(attachment.address(), home=terms.home, allow_loopback=terms.allow_loopback)


def _json(status: Status) -> bytes:
    # UTF-8 cannot encode a lone surrogate, so it becomes a JSON escape.
    return f"{dumps(to_dict(status))}\n".encode(errors="backslashreplace")


def _write_sidecar(path: Path, text: bytes) -> None:
    _mkdir(path.parent)
    part.write_atomically(path, text)


def _replace_sidecar(path: Path, text: bytes) -> None:
    part.replace_atomically(path, text)


def _mkdir(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)


@attrs.define(eq=False)
class _OtherWriter:
    """Another task or process that is writing the same file, followed for as long as the file grows."""

    _final: Path
    _timeout: float
    _size: int = -1
    _grew_at: float = 0.0

    async def wait(self) -> None:
        """Wait a moment; raise `MediaError` if nothing has arrived within the timeout."""
        size = await on_disk(self._final.parent, part.size, self._final)
        now = anyio.current_time()
        if size != self._size:
            self._size, self._grew_at = size, now

        if now - self._grew_at > self._timeout:
            raise MediaError(
                f"another process holds {self._final.name}.part and has written nothing for {self._timeout:g} s",
                retryable=True,
            )

        await anyio.sleep(_LOCK_RETRY_INTERVAL)
