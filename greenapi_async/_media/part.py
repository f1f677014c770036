"""A file that is not whole yet: locked while somebody writes it, put under its final name when it is."""

import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NEW: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


@attrs.define(eq=False)
class Part:
    """The part that has come of a file, open and locked.

    Attributes:
        size: how many bytes of it there are.
        etag: whose part it is, a strong ETag, or None: then it cannot be resumed.
    """

    _final: Path
    _fd: int
    size: int
    etag: str | None

    def restart(self, etag: str) -> None:
        """Begin the file anew, and remember whose part it is."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size = 0
        beside(self._final, ".part.etag").unlink(missing_ok=True)

        self.etag = etag if _STRONG_ETAG.fullmatch(etag) else None
        if self.etag is not None:
            _write_new(beside(self._final, ".part.etag"), self.etag.encode())

    def write(self, data: bytes) -> None:
        """Add bytes to its end."""
        _write_all(self._fd, data)
        self.size += len(data)

    def head(self, length: int) -> bytes:
        """Return its first bytes."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return os.read(self._fd, length)

    def publish(self) -> None:
        """Put it under its final name, unless somebody has put something there."""
        os.fsync(self._fd)
        _publish(beside(self._final, ".part"), self._final)
        self.discard()

    def discard(self) -> None:
        """Take it away and close it, unless it is closed: then it may be somebody else's by now."""
        if self._fd < 0:
            return

        if sys.platform == "win32":  # What is open cannot be taken away there, by nobody.
            self.close()

        try:
            beside(self._final, ".part.etag").unlink(missing_ok=True)
            beside(self._final, ".part").unlink(missing_ok=True)
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()  # Where asyncio cancelled who was to get it, nobody else does.

    def close(self) -> None:
        """Let others have it; what is there can be resumed. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_there(final: Path) -> bool:
    """Tell whether the whole file is there already.

    Raises:
        FileExistsError: something else has its name.
    """
    try:
        mode = final.lstat().st_mode
    except FileNotFoundError:
        return False

    if not stat.S_ISREG(mode):
        raise FileExistsError(f"{final.name} is there and is no regular file")

    return True


def claim(final: Path) -> Part | None:
    """Open the part of a file, or return None: somebody is writing it, or has just now finished.

    Raises:
        FileExistsError: something else has its name.
    """
    path = beside(final, ".part")
    fd = os.open(path, _NEW, 0o600)
    part = Part(final, fd, 0, None)
    try:
        if not _lock(fd) or not _is_at(path, fd):
            part.close()
            return None

        # Whoever links the part and dies then leaves it with two names.
        if is_there(final) or os.fstat(fd).st_nlink > 1:
            part.discard()
            return None

        part.size, part.etag = os.lseek(fd, 0, os.SEEK_END), _etag_beside(final)
    except OSError:
        part.close()
        raise

    return part


def write_whole(final: Path, data: bytes) -> None:
    """Write a small file at once, unless it is there already."""
    if is_there(final):
        return

    path = beside(final, f".{secrets.token_hex(8)}.part")
    try:
        _write_new(path, data)
        _publish(path, final)
    finally:
        path.unlink(missing_ok=True)


def beside(path: Path, end: str) -> Path:
    """Return the path with something appended to its name."""
    return path.with_name(path.name + end)


def _publish(path: Path, final: Path) -> None:
    """Give the file its final name too, where nobody has it."""
    try:
        os.link(path, final)
    except FileExistsError:
        is_there(final)
    except OSError:  # FAT has no hard links.
        if not is_there(final):
            path.rename(final)

    _sync(final.parent)


def _lock(fd: int) -> bool:
    """Lock the file unless another task or process has: the lock goes with the descriptor, a crash included."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False

    return True


def _is_at(path: Path, fd: int) -> bool:
    """Tell whether the path leads to this very file: who had the lock before may have taken it away."""
    opened = os.fstat(fd)
    if not stat.S_ISREG(opened.st_mode):
        raise FileExistsError(f"{path.name} is there and is no regular file")

    try:
        return os.path.samestat(opened, path.lstat())
    except FileNotFoundError:
        return False


def _etag_beside(final: Path) -> str | None:
    try:
        fd = os.open(beside(final, ".part.etag"), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None

    with os.fdopen(fd, "rb") as file:
        etag = file.read(256).decode("ascii", "replace")

    return etag if _STRONG_ETAG.fullmatch(etag) else None


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, _NEW | os.O_EXCL, 0o600)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _sync(directory: Path) -> None:
    """Let the new name outlive a power failure, where the system can."""
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
