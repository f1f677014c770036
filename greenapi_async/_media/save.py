"""Save the picture, video or voice note of a status: complete, once, and only if it is of the declared type."""

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, TypeVarTuple

import anyio
import attrs

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async._http.failures import host_in, is_retryable, printable
from greenapi_async._media import filetype, part
from greenapi_async._media.download import download, source
from greenapi_async._media.name import stem
from greenapi_async._system import may_pass
from greenapi_async._threads import to_the_end
from greenapi_async.errors import DirectoryError, MediaError, TransportError
from greenapi_async.models import AudioStatus, ImageStatus, MediaStatus, Status, VideoStatus

Progress: TypeAlias = Callable[[int, int | None], None]

_CHUNK: Final = 256 * 1024  # For less, switching threads costs more than writing.
_LOCK_RETRY_INTERVAL: Final = 0.1
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
    timeout: float,  # noqa: ASYNC109 - it limits stalls, not the whole call.
) -> Path:
    """Save a status' file in one attempt, and return its path; see `AsyncStatusesClient.save_media`."""
    if not isinstance(status, MediaStatus):
        raise MediaError(f"nothing to download: a status of kind {status.kind!r} has no file")

    await save_sidecar(status, directory)
    origin = source(_download_url(status), allow_loopback=allow_loopback)
    final = directory / f"{stem(status)}{filetype.extension(status)}"

    other = _OtherWriter(final, timeout)

    while not await _on_disk(directory, part.is_saved, final):
        claimed = await _on_disk(directory, part.claim, final)
        if claimed is None:
            await other.wait()
            continue

        receiver = _FileReceiver(status, directory, claimed, max_bytes, progress)
        await receiver.run(functools.partial(download, origin, timeout=timeout))

    return final


async def save_sidecar(status: Status, directory: Path) -> Path:
    """Write a status as the API's JSON object, unless the file exists, and return its path.

    Raises:
        DirectoryError: it cannot be written.
    """
    path = directory / f"{stem(status)}.json"
    # UTF-8 cannot encode a lone surrogate, so it becomes a JSON escape.
    text = f"{dumps(to_dict(status))}\n".encode(errors="backslashreplace")

    await _on_disk(directory, _write_sidecar, path, text)
    return path


async def make_directory(directory: Path) -> None:
    """Create a directory and its parents, unless it exists.

    Raises:
        DirectoryError: it cannot be created.
    """
    await _on_disk(directory, _mkdir, directory)


def _write_sidecar(path: Path, text: bytes) -> None:
    _mkdir(path.parent)
    part.write_atomically(path, text)


def _mkdir(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)


def _download_url(status: MediaStatus) -> str:
    url = status.download_url or ""
    if "{{SWE002}}" in url:
        raise MediaError("the file is too big for the API, which did not keep it: view it on the phone")

    if not url or url.startswith("{{"):
        raise MediaError(f"the API sent no download URL (got {printable(url) or 'nothing'})")

    return url


@attrs.define(eq=False)
class _OtherWriter:
    """Another task or process that is writing the same file, as long as the file grows."""

    _final: Path
    _timeout: float
    _size: int = -1
    _grew_at: float = 0.0

    async def wait(self) -> None:
        """Wait a moment; raise `MediaError` where nothing has come for the timeout."""
        size = await _on_disk(self._final.parent, part.size, self._final)
        now = anyio.current_time()
        if size != self._size:
            self._size, self._grew_at = size, now

        if now - self._grew_at > self._timeout:
            raise MediaError(
                f"another process holds {self._final.name}.part and has written nothing for {self._timeout:g} s",
                retryable=True,
            )

        await anyio.sleep(_LOCK_RETRY_INTERVAL)


@attrs.define(eq=False)
class _FileReceiver:
    """Receives a download and writes it to the partial file."""

    _status: ImageStatus | VideoStatus | AudioStatus
    _directory: Path
    _part: part.PartialFile
    _max_bytes: int
    _progress: Progress | None
    _received: int = 0
    _total: int | None = None
    _buffer: bytearray = attrs.field(factory=bytearray)

    async def run(self, download: "Callable[[Mapping[str, str], _FileReceiver], Awaitable[None]]") -> None:
        """Download the file; keep the partial one if interrupted, delete it if refused."""
        try:
            await download(self._range_headers(), self)
            with anyio.CancelScope(shield=True):  # A complete file must not be downloaded again.
                await self._finish()
        except MediaError as error:
            if not error.retryable or isinstance(error, DirectoryError):
                await self._discard()  # On a full disk, free the space.
            raise
        finally:
            await self._close()

    async def begin(self, http_code: int, headers: Mapping[str, str]) -> None:
        """Restart or resume the partial file, or raise, according to the response's status code and headers."""
        if http_code == 200 and not {"content-length", "transfer-encoding"} & set(headers):
            raise MediaError(
                "the media server sent neither a length nor chunks, so a truncated file would go unnoticed",
                retryable=True,
            )

        if http_code == 200:
            await self._on_disk(self._part.restart, headers.get("etag", ""))
            self._total = _length(headers.get("content-length"))
        elif http_code == 206 and (total := _resumed_total(headers, self._part)):
            self._received, self._total = self._part.size, total
        elif http_code in {206, 416}:
            await self._on_disk(self._part.restart, "")
            raise MediaError(
                "the file has changed since the download began", http_code=http_code, retryable=True
            )
        else:
            raise _refusal(http_code, headers)

        if headers.get("content-encoding", "identity").lower() != "identity":
            raise MediaError("the media server compressed the file although that was not requested")

        self._check_size(self._total or 0)

    async def receive(self, chunk: bytes) -> None:
        """Buffer or write the next bytes, and report progress."""
        self._received += len(chunk)
        self._check_size(self._received)
        self._buffer += chunk

        if len(self._buffer) >= _CHUNK:
            await self._flush()

        if self._progress is not None:
            self._progress(self._received, self._total)

    def _range_headers(self) -> dict[str, str]:
        """Return the headers that request the rest of this file, or all of it if it has changed."""
        if not self._part.size or self._part.etag is None:
            return {}

        return {"Range": f"bytes={self._part.size}-", "If-Range": self._part.etag}

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise MediaError(f"the file is larger than {self._max_bytes} bytes: raise max_bytes to save it")

    async def _finish(self) -> None:
        await self._flush()
        if self._total not in {None, self._received}:
            raise TransportError("the download was truncated")

        head = await self._on_disk(self._part.head, filetype.HEAD_SIZE)
        mismatch = filetype.mismatch(self._status, head)
        if mismatch is not None:
            raise MediaError(f"unexpected file content: {mismatch}")

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
            ):  # The error that ended the download matters more.
                await self._flush()
                if not self._part.size:
                    await self._on_disk(self._part.discard)
        finally:
            self._part.close()

    async def _on_disk(self, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
        return await _on_disk(self._directory, work, *arguments)


async def _on_disk(directory: Path, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
    """Run `work` in a thread until it returns, and raise `DirectoryError` where the system refuses."""
    try:
        return await to_the_end(work, *arguments)
    except OSError as error:
        reason, retryable = error.strerror or str(error), may_pass(error)
    except ValueError:
        reason, retryable = "no directory can have such a name", False

    # Of a name that UTF-8 cannot spell a message must not hold the half of an emoji.
    named = str(directory).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    raise DirectoryError(f"cannot save to {named}: {reason}", retryable=retryable)


def _resumed_total(headers: Mapping[str, str], partial: part.PartialFile) -> int | None:
    """Return the complete file's size if the response continues this partial file, else None."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if found is None or partial.etag is None or headers.get("etag") != partial.etag:
        return None

    first, last, total = map(int, found.groups())
    return total if (first, last) == (partial.size, total - 1) else None


def _refusal(http_code: int, headers: Mapping[str, str]) -> MediaError:
    if 300 <= http_code < 400:
        where = host_in(headers.get("location")) or "elsewhere"
        return MediaError(f"the download was redirected to {where}", http_code=http_code)

    retryable = is_retryable(http_code)
    why = "" if retryable else ": the file may have expired, as it is not kept long"
    return MediaError(
        f"the media server responded with HTTP {http_code}{why}", http_code=http_code, retryable=retryable
    )


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
