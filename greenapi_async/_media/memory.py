"""The file of a status in memory."""

import attrs

from greenapi_async._media.part import strong_etag


@attrs.define(eq=False)
class MemoryFile:
    """A file that is kept in memory.

    Attributes:
        content: what has arrived.
        etag: the strong ETag of the file, or None if it cannot be resumed.
        total: the size of the complete file, or None if it is unknown.
    """

    content: bytearray = attrs.field(factory=bytearray)
    etag: str | None = None
    total: int | None = None

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.content)

    async def restart(self, etag: str, total: int | None) -> None:
        """Start over, with another file."""
        self.content.clear()
        self.etag, self.total = strong_etag(etag), total

    async def expect(self, total: int) -> None:
        """Remember the size of the complete file."""
        self.total = total

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self.content += chunk

    async def head(self, length: int) -> bytes:
        """Return the first bytes."""
        return bytes(self.content[:length])
