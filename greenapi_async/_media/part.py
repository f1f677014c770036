"""A partially downloaded file: locked while being written, given its final name when complete."""

import errno
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
_LOCKED: Final = PermissionError if sys.platform == "win32" else BlockingIOError
_CANNOT_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_VALIDATOR = re.compile(_STRONG_ETAG.pattern + r"(?:\n([0-9]{1,18}))?")
# The files that this process is writing, by device and inode: tasks exclude each other even without locks.
_WRITTEN: Final[dict[tuple[int, int], object]] = {}


@attrs.define(eq=False)
class PartialFile:
    """A partially downloaded file, open and locked.

    Attributes:
        size: bytes written so far.
        etag: the strong ETag of the file being downloaded, or None if it cannot be resumed.
        total: the size of the complete file, or None if it is unknown.
    """

    _final: Path
    _fd: int
    size: int = 0
    etag: str | None = None
    total: int | None = None
    _token: object = attrs.field(factory=object)

    def restart(self, etag: str, total: int | None) -> None:
        """Truncate the file, and save what identifies the one whose download starts now."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size = 0
        self.etag, self.total = strong_etag(etag), total
        self._save_validator()

    def expect(self, total: int) -> None:
        """Save the size of the complete file."""
        if total != self.total:
            self.total = total
            self._save_validator()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        _write_all(self._fd, data)
        self.size += len(data)

    def head(self, length: int) -> bytes:
        """Return the first `length` bytes."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return os.read(self._fd, length)

    def is_mine(self) -> bool:
        """Return whether no other task of this process is writing the file; if so, it is ours until closed."""
        return _WRITTEN.setdefault(_identity(self._fd), self._token) is self._token

    def publish(self) -> None:
        """Give the file its final name, unless that already exists."""
        _fsync(self._fd)
        _publish(sibling(self._final, ".part"), self._final)
        self.discard()

    def discard(self) -> None:
        """Delete and close the file, unless it is closed: then another writer may own it."""
        if self._fd < 0:
            return

        if sys.platform == "win32":  # An open file cannot be deleted there.
            self.close()

        try:
            sibling(self._final, ".part.etag").unlink(missing_ok=True)
            sibling(self._final, ".part").unlink(missing_ok=True)
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()  # If asyncio cancelled the caller of `claim`, nobody else closes it.

    def close(self) -> None:
        """Close and unlock the file; it can be resumed later. Idempotent."""
        if self._fd >= 0:
            identity, fd, self._fd = _identity(self._fd), self._fd, -1
            if _WRITTEN.get(identity) is self._token:
                del _WRITTEN[identity]
            os.close(fd)

    def _save_validator(self) -> None:
        path = sibling(self._final, ".part.etag")
        path.unlink(missing_ok=True)
        if self.etag is not None:
            lines = (self.etag, *(() if self.total is None else (str(self.total),)))
            _write_new(path, "\n".join(lines).encode())


def is_saved(final: Path) -> bool:
    """Return whether the complete file exists.

    Raises:
        FileExistsError: the path is not a regular file.
    """
    try:
        mode = final.lstat().st_mode
    except FileNotFoundError:
        return False

    if not stat.S_ISREG(mode):
        raise FileExistsError(f"{final.name} exists and is not a regular file")

    return True


def is_finished(final: Path) -> bool:
    """Return whether the complete file exists; remove its second name if its writer was killed between the two.

    Raises:
        FileExistsError: the path is not a regular file.
    """
    if not is_saved(final):
        return False

    second = sibling(final, ".part")
    with suppress(OSError):
        if os.path.samestat(second.lstat(), final.lstat()):
            sibling(final, ".part.etag").unlink(missing_ok=True)
            second.unlink()

    return True


def size(final: Path) -> int:
    """Return how many bytes of the file have arrived, whoever is writing it."""
    try:
        return sibling(final, ".part").stat().st_size
    except FileNotFoundError:
        return 0


def claim(final: Path) -> PartialFile | None:
    """Open and lock the partial file, or return None if another writer has it or has just finished.

    Raises:
        FileExistsError: the path is not a regular file.
    """
    path = sibling(final, ".part")
    fd = os.open(path, _NEW, 0o600)
    part = PartialFile(final, fd)
    try:
        if not _lock(fd) or not part.is_mine() or not _is_open_at(path, fd):
            part.close()
            return None

        # A writer that dies between linking and unlinking leaves two names.
        if is_saved(final) or os.fstat(fd).st_nlink > 1:
            part.discard()
            return None

        part.size = os.lseek(fd, 0, os.SEEK_END)
        part.etag, part.total = _saved_validator(final)
    except OSError:
        part.close()
        raise

    return part


def write_atomically(final: Path, data: bytes) -> None:
    """Write a small file atomically, unless it exists."""
    if is_saved(final):
        return

    path = sibling(final, f".{secrets.token_hex(8)}.part")
    try:
        _write_new(path, data)
        _publish(path, final)
    finally:
        path.unlink(missing_ok=True)


def replace_atomically(final: Path, data: bytes) -> None:
    """Write a small file atomically, in place of what is there."""
    if is_saved(final) and final.read_bytes() == data:
        return

    path = sibling(final, f".{secrets.token_hex(8)}.part")
    try:
        _write_new(path, data)
        path.replace(final)
    finally:
        path.unlink(missing_ok=True)

    _sync_directory(final.parent)


def strong_etag(text: str) -> str | None:
    """Return an ETag that guarantees identical bytes, or None for any other."""
    return text if _STRONG_ETAG.fullmatch(text) else None


def sibling(path: Path, suffix: str) -> Path:
    """Return the path with a suffix appended to its name."""
    return path.with_name(path.name + suffix)


def _publish(path: Path, final: Path) -> None:
    """Link the file to its final name, unless that exists."""
    try:
        os.link(path, final)
    except FileExistsError:
        is_saved(final)
    except OSError:  # FAT has no hard links.
        if not is_saved(final):
            path.rename(final)

    _sync_directory(final.parent)


def _lock(fd: int) -> bool:
    """Return whether nobody else has locked the file; closing the descriptor, even by a crash, releases the lock."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # Network drives and FUSE may have no locks: then it is saved without one.
        return not isinstance(error, _LOCKED)

    return True


def _fsync(fd: int) -> None:
    """Flush the file to the disk, if the file system can guarantee that."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _is_open_at(path: Path, fd: int) -> bool:
    """Return whether the path still names the open file: the previous owner may have deleted it."""
    open_file = os.fstat(fd)
    if not stat.S_ISREG(open_file.st_mode):
        raise FileExistsError(f"{path.name} exists and is not a regular file")

    try:
        return os.path.samestat(open_file, path.lstat())
    except FileNotFoundError:
        return False


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _saved_validator(final: Path) -> tuple[str | None, int | None]:
    try:
        fd = os.open(sibling(final, ".part.etag"), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None, None

    with os.fdopen(fd, "rb") as file:
        found = _VALIDATOR.fullmatch(file.read(256).decode("ascii", "replace"))

    if found is None:
        return None, None

    return found[0].partition("\n")[0], int(found[1]) if found[1] else None


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, _NEW | os.O_EXCL, 0o600)
    try:
        _write_all(fd, data)
        _fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(fd, remaining) :]


def _sync_directory(directory: Path) -> None:
    """Make the new name survive a power failure, if the system supports that."""
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
