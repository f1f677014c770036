"""Disk access, in threads: a partial file as it arrives, and one error for whatever the system refuses."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import anyio
import attrs

from greenapi_async._media.part import PartialFile
from greenapi_async._system import may_pass
from greenapi_async._threads import to_the_end
from greenapi_async.errors import DirectoryError, MediaError

_CHUNK: Final = 256 * 1024  # For less, switching threads costs more than the write.
_Value = TypeVar("_Value")
_Arguments = TypeVarTuple("_Arguments")


@attrs.define(eq=False)
class DiskFile:
    """A partial file that is written in large pieces."""

    _directory: Path
    _part: PartialFile
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._part.size + len(self._buffer)

    @property
    def etag(self) -> str | None:
        """The strong ETag of the file, or None if it cannot be resumed."""
        return self._part.etag

    @property
    def total(self) -> int | None:
        """The size of the complete file, or None if it is unknown."""
        return self._part.total

    async def restart(self, etag: str, total: int | None) -> None:
        """Start over, with another file."""
        self._buffer.clear()
        await self._on_disk(self._part.restart, etag, total)

    async def expect(self, total: int) -> None:
        """Remember the size of the complete file."""
        await self._on_disk(self._part.expect, total)

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._buffer += chunk
        if len(self._buffer) >= _CHUNK:
            await self._flush()

    async def head(self, length: int) -> bytes:
        """Return the first bytes."""
        await self._flush()
        return await self._on_disk(self._part.head, length)

    async def publish(self) -> None:
        """Give the file its final name."""
        await self._on_disk(self._part.publish)

    async def discard(self) -> None:
        """Delete the file."""
        self._buffer.clear()
        with anyio.CancelScope(shield=True), suppress(MediaError):
            await self._on_disk(self._part.discard)

    async def close(self) -> None:
        """Keep what has arrived for the next attempt; an empty file is deleted."""
        try:
            with (
                anyio.CancelScope(shield=True),
                suppress(MediaError),  # The error that ended the download matters more.
            ):
                await self._flush()
                if not self._part.size:
                    await self._on_disk(self._part.discard)
        finally:
            self._part.close()

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await self._on_disk(self._part.write, data)

    async def _on_disk(self, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
        return await on_disk(self._directory, work, *arguments)


async def on_disk(directory: Path, work: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
    """Run `work` in a thread until it returns, and raise `DirectoryError` if the system refuses."""
    try:
        return await to_the_end(work, *arguments)
    except OSError as error:
        reason, retryable = error.strerror or str(error), may_pass(error)
    except ValueError:
        reason, retryable = "no directory can have such a name", False

    # A message must not contain half an emoji, from a name that UTF-8 cannot encode.
    named = str(directory).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    raise DirectoryError(f"cannot save to {named}: {reason}", retryable=retryable)
