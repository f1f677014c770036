"""Saves the picture, video or voice note of a status: whole, once, and only if it is what it says."""

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import attrs

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async._http.failures import host_in, printable
from greenapi_async._media import filetype, part
from greenapi_async._media.download import download, source
from greenapi_async._media.name import stem
from greenapi_async.errors import DirectoryError, MediaError, TransportError
from greenapi_async.models import AudioStatus, ImageStatus, MediaStatus, Status, VideoStatus

Progress: TypeAlias = Callable[[int, int | None], None]

_CHUNK: Final = 256 * 1024  # A thread's hop for less would cost more than the writing.
_BETWEEN_LOOKS: Final = 0.1
_MAY_HEAL: Final = frozenset({408, 425, 429})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_Value = TypeVar("_Value")
_Arguments = TypeVarTuple("_Arguments")


async def save_media(
    status: Status,
    directory: Path,
    *,
    progress: Progress | None,
    max_bytes: int,
    allow_loopback: bool,
    timeout: float,  # noqa: ASYNC109 - it is for a silence, not for the whole.
) -> Path:
    """Try once to save a status' file, and return its path; see `AsyncStatusesClient.save_media`."""
    if not isinstance(status, MediaStatus):
        raise MediaError(f"there is nothing to download: this is a status of the kind {status.kind}")

    await save_sidecar(status, directory)
    origin = source(_address(status), allow_loopback=allow_loopback)
    final = directory / f"{stem(status)}{filetype.extension(status)}"

    while not await _on_disk(directory, part.is_there, final):
        claimed = await _on_disk(directory, part.claim, final)
        if claimed is None:
            await anyio.sleep(_BETWEEN_LOOKS)
            continue

        saving = _Saving(status, directory, claimed, max_bytes, progress)
        await saving.run(functools.partial(download, origin, timeout=timeout))

    return final


async def save_sidecar(status: Status, directory: Path) -> Path:
    """Write a status as the API's JSON object, unless that was done before, and return the path.

    Raises:
        MediaError: it cannot be written.
    """
    path = directory / f"{stem(status)}.json"
    # Half an emoji, which UTF-8 has no bytes for, becomes the escape that JSON has for it.
    text = f"{dumps(to_dict(status))}\n".encode(errors="backslashreplace")

    await _on_disk(directory, _write_sidecar, path, text)
    return path


async def make_directory(directory: Path) -> None:
    """Make a directory, and those above it, where it is missing.

    Raises:
        MediaError: it cannot be made.
    """
    await _on_disk(directory, _make, directory)


def _write_sidecar(path: Path, text: bytes) -> None:
    _make(path.parent)
    part.write_whole(path, text)


def _make(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)


def _address(status: MediaStatus) -> str:
    url = status.download_url or ""
    if "{{SWE002}}" in url:
        raise MediaError("the file is too big for the API, which did not keep it: look at it on the phone")

    if not url or url.startswith("{{"):
        raise MediaError(f"the API gave no address to download from: {printable(url) or 'nothing'}")

    return url


@attrs.define(eq=False)
class _Saving:
    """Takes a download in and keeps it in a part."""

    _status: ImageStatus | VideoStatus | AudioStatus
    _directory: Path
    _part: part.Part
    _max_bytes: int
    _progress: Progress | None
    _received: int = 0
    _total: int | None = None
    _buffer: bytearray = attrs.field(factory=bytearray)

    async def run(self, download: "Callable[[Mapping[str, str], _Saving], Awaitable[None]]") -> None:
        """Download the file; what was interrupted can be resumed, of what was refused nothing stays."""
        try:
            await download(self._conditions(), self)
            with anyio.CancelScope(shield=True):  # What is whole would have to come again.
                await self._finish()
        except MediaError as error:
            if not error.retryable or isinstance(error, DirectoryError):
                await self._discard()  # Half a file does not stay on a full disk.
            raise
        finally:
            await self._close()

    async def begin(self, http_code: int, headers: Mapping[str, str]) -> None:
        """Decide what the answer's head means for the part."""
        if http_code == 200 and not {"content-length", "transfer-encoding"} & set(headers):
            raise MediaError("the media server does not tell where the file ends", retryable=True)

        if http_code == 200:
            await self._on_disk(self._part.restart, headers.get("etag", ""))
            self._total = _number(headers.get("content-length"))
        elif http_code == 206 and (total := _continued(headers, self._part)):
            self._received, self._total = self._part.size, total
        elif http_code in {206, 416}:
            await self._on_disk(self._part.restart, "")
            raise MediaError("the file is not the one that was begun", http_code=http_code, retryable=True)
        else:
            raise _refused(http_code, headers)

        if headers.get("content-encoding", "identity").lower() != "identity":
            raise MediaError("the media server packed the file, though it was not asked to")

        self._check_size(self._total or 0)

    async def take(self, chunk: bytes) -> None:
        """Keep the next bytes, and tell how many there are."""
        self._received += len(chunk)
        self._check_size(self._received)
        self._buffer += chunk

        if len(self._buffer) >= _CHUNK:
            await self._flush()

        if self._progress is not None:
            self._progress(self._received, self._total)

    def _conditions(self) -> dict[str, str]:
        """Return the headers that ask for the rest, of this very file or else the whole of another."""
        if not self._part.size or self._part.etag is None:
            return {}

        return {"Range": f"bytes={self._part.size}-", "If-Range": self._part.etag}

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise MediaError(f"the file is larger than {self._max_bytes} bytes: see max_bytes")

    async def _finish(self) -> None:
        await self._flush()
        if self._total not in {None, self._received}:
            raise TransportError("the download was cut in the middle")

        head = await self._on_disk(self._part.head, filetype.HEAD)
        problem = filetype.contradiction(self._status, head)
        if problem is not None:
            raise MediaError(f"the file is not what it should be: {problem}")

        await self._on_disk(self._part.publish)

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await self._on_disk(self._part.write, data)

    async def _discard(self) -> None:
        self._buffer.clear()
        with anyio.CancelScope(shield=True), suppress(MediaError):
            await self._on_disk(self._part.discard)

    async def _close(self) -> None:
        try:
            with (
                anyio.CancelScope(shield=True),
                suppress(MediaError),
            ):  # What ended the download is more to the point.
                await self._flush()
                if not self._part.size:
                    await self._on_disk(self._part.discard)
        finally:
            self._part.close()

    async def _on_disk(self, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
        return await _on_disk(self._directory, work, *arguments)


async def _on_disk(directory: Path, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
    """Work in a thread to the end, and raise `DirectoryError` where the file system does not let it.

    asyncio's own cancellation goes through shields, but a task group waits for its tasks all the same: nobody
    closes the file while a thread still writes.
    """
    done: list[_Value] = []
    reason = ""

    async def to_the_end() -> None:
        nonlocal reason
        with anyio.CancelScope(shield=True):
            try:
                done.append(await anyio.to_thread.run_sync(work, *arguments))
            except OSError as error:
                reason = error.strerror or str(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(to_the_end)

    if not done:
        raise DirectoryError(f"cannot save to {directory}: {reason}", retryable=True)

    return done[0]


def _continued(headers: Mapping[str, str], begun: part.Part) -> int | None:
    """Return the whole file's size where an answer is the rest of this very part, else None."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if found is None or begun.etag is None or headers.get("etag") != begun.etag:
        return None

    first, last, total = map(int, found.groups())
    return total if (first, last) == (begun.size, total - 1) else None


def _refused(http_code: int, headers: Mapping[str, str]) -> MediaError:
    if 300 <= http_code < 400:
        where = host_in(headers.get("location")) or "elsewhere"
        return MediaError(f"the download was redirected to {where}", http_code=http_code)

    retryable = http_code >= 500 or http_code in _MAY_HEAL
    why = "" if retryable else ": it may be gone, for it is not kept long"
    return MediaError(
        f"the media server answered HTTP {http_code}{why}", http_code=http_code, retryable=retryable
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
