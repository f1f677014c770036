"""Receives a file, or the rest of it: complete, of its declared type, and never two files in one."""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias

import attrs

from greenapi_async._http.failures import host_in, is_retryable
from greenapi_async._media import filetype
from greenapi_async._media.download import Receiver
from greenapi_async.errors import MediaError, TransportError

Progress: TypeAlias = Callable[[int, int | None], None]
Download: TypeAlias = Callable[[Mapping[str, str], Receiver], Awaitable[None]]

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})")
_COMPRESSION = re.compile(
    r"\b(?:gzip|deflate|zlib|br|brotli|zstd|compress|dc[bz]|bzip2?|xz|lzma|lz4|snappy|exi|aes128gcm)\b",
    re.IGNORECASE,
)


class File(Protocol):
    """Where the bytes go."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def etag(self) -> str | None:
        """The strong ETag of the file, or None if it cannot be resumed."""

    @property
    def total(self) -> int | None:
        """The size of the complete file, or None if it is unknown."""

    async def restart(self, etag: str, total: int | None) -> None:
        """Start over, with another file."""

    async def expect(self, total: int) -> None:
        """Remember the size of the complete file."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""

    async def head(self, length: int) -> bytes:
        """Return the first bytes."""


async def receive_file(
    file: File,
    download: Download,
    *,
    mime_type: str,
    max_bytes: int,
    progress: Progress | None,
    moved: Callable[[], None],
) -> None:
    """Download a file, or the missing rest of it; `moved` is called for every chunk.

    Raises:
        MediaError: it is refused, too large, or not of the declared type; if retryable, a partial file may be kept.
        TransportError: it did not arrive completely.
    """
    receiver = _Receiver(file, max_bytes, progress, moved)
    with suppress(_IsWhole):
        await download(_range_headers(file), receiver)
        if file.total is None:
            receiver.wants_rest = True
            await download({"Range": f"bytes={file.size}-"}, receiver)

    if file.total not in {None, file.size}:
        raise _truncated()

    mismatch = filetype.mismatch(mime_type, await file.head(filetype.HEAD_SIZE))
    if mismatch is not None:
        raise MediaError(f"unexpected file content: {mismatch}")


class _IsWhole(Exception):  # noqa: N818 - it ends a download, and is not an error.
    """The response says that nothing is missing."""


@attrs.define(eq=False)
class _Receiver:
    """Puts a file's responses where they belong in it.

    If no length is sent, the end may be a truncation: an origin that closed, behind a proxy that frames what came as
    complete. So the rest is requested, whose response gives the file's size.

    Attributes:
        wants_rest: whether to request what may follow a body of unknown length.
    """

    _file: File
    _max_bytes: int
    _progress: Progress | None
    _moved: Callable[[], None]
    wants_rest: bool = False
    _etag: str = ""
    _is_delimited: bool = True

    async def begin(self, http_code: int, headers: Mapping[str, str]) -> None:
        """Restart or resume the file, or raise, according to the response's status code and headers."""
        self._moved()
        if http_code in {206, 416}:
            await self._go_on(http_code, headers, etag=self._etag if self.wants_rest else self._file.etag)
        elif self.wants_rest:
            self._end(http_code, headers)
        elif http_code == 200:
            await self._begin_anew(headers)
        else:
            raise _refusal(http_code, headers)

    async def receive(self, chunk: bytes) -> None:
        """Append the next bytes, and report progress."""
        self._moved()
        self._check_size(self._file.size + len(chunk))
        await self._file.write(chunk)

        if self._progress is not None:
            self._progress(self._file.size, self._file.total)

    async def _begin_anew(self, headers: Mapping[str, str]) -> None:
        total = _length(headers)
        _check_encoding(headers)
        self._check_size(total or 0)

        self._etag = headers.get("etag", "")
        self._is_delimited = bool({"content-length", "transfer-encoding"} & set(headers))
        await self._file.restart(self._etag, total)

    async def _go_on(self, http_code: int, headers: Mapping[str, str], *, etag: str | None) -> None:
        """Continue the file if the response is for the same one."""
        first, last, total = _place(headers)
        told = headers.get("etag", "")
        if self._file.total in {None, total}:
            if http_code == 206 and told == etag and (first, last) == (self._file.size, total - 1):
                _check_encoding(headers)
                self._check_size(total)
                await self._file.expect(total)
                return

            # Errors seldom have an ETag.
            if http_code == 416 and total == self._file.size and (told == etag or not told or not etag):
                raise _IsWhole

        await self._file.restart("", None)
        raise MediaError("the file has changed since the download began", http_code=http_code, retryable=True)

    def _end(self, http_code: int, headers: Mapping[str, str]) -> None:
        """End the download if the server does not send the rest."""
        if http_code != 200:
            raise TransportError(
                f"the file's size is unknown, and the server did not send the rest: HTTP {http_code}"
            )

        if _length(headers) not in {None, self._file.size}:
            raise _truncated()

        if not self._is_delimited:
            raise MediaError(
                "the media server sent neither a length nor chunks, so a truncated file would go unnoticed",
                retryable=True,
            )

        raise _IsWhole

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise MediaError(f"the file is larger than {self._max_bytes} bytes: raise max_bytes to save it")


def _range_headers(file: File) -> dict[str, str]:
    """Return the headers that request the rest of this file, or all of it if it has changed."""
    if not file.size or file.etag is None:
        return {}

    return {"Range": f"bytes={file.size}-", "If-Range": file.etag}


def _place(headers: Mapping[str, str]) -> tuple[int, int, int]:
    """Return the first and last byte of a range, and the size of the complete file; -1 if not sent."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if found is None:
        return -1, -1, -1

    first, last, total = (int(number or -1) for number in found.groups())
    return first, last, total


def _check_encoding(headers: Mapping[str, str]) -> None:
    """Raise if the header names a compression: storage services keep whatever else an uploader sent."""
    if _COMPRESSION.search(headers.get("content-encoding", "")):
        raise MediaError("the media server compressed the file although that was not requested")


def _refusal(http_code: int, headers: Mapping[str, str]) -> MediaError:
    if 300 <= http_code < 400:
        where = host_in(headers.get("location")) or "elsewhere"
        return MediaError(f"the download was redirected to {where}", http_code=http_code)

    retryable = is_retryable(http_code)
    why = "" if retryable else ": the file may not be there yet, or may have expired"
    return MediaError(
        f"the media server responded with HTTP {http_code}{why}", http_code=http_code, retryable=retryable
    )


def _truncated() -> TransportError:
    return TransportError("the download was truncated")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None
