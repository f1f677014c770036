"""A store in one SQLite file, which several processes may share."""

import errno
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio

from greenapi_async._system import check_open_files, may_pass
from greenapi_async._threads import no_thread_is_an_os_error
from greenapi_async.errors import ConfigurationError, StoreError
from greenapi_async.stores.base import Checkpoint

if TYPE_CHECKING:
    import sqlite3

    from anyio.lowlevel import RunVar

_APPLICATION_ID: Final = 0x47415354
_FORMAT: Final = 2
_SCHEMA: Final = (
    """CREATE TABLE seen (
        scope TEXT NOT NULL, id BLOB NOT NULL, first_seen REAL NOT NULL, PRIMARY KEY (scope, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE checkpoint (
        scope TEXT NOT NULL PRIMARY KEY, marks TEXT NOT NULL, catching_up INTEGER NOT NULL, begins REAL
    ) WITHOUT ROWID""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)
_FROM_FORMAT_1: Final = (
    "ALTER TABLE checkpoint ADD COLUMN begins REAL",
    f"PRAGMA user_version = {_FORMAT}",
)
_PATIENCE: Final = 2.0  # The poller does the waiting: it can be cancelled, and a thread cannot.
_FILES: Final = 4  # The database, its log and the log's index, or a journal while it is made.
_ERRNOS: Final = {  # What the system reported, as far as SQLite reveals it.
    "SQLITE_BUSY": errno.EBUSY,
    "SQLITE_FULL": errno.ENOSPC,
    "SQLITE_IOERR_SHMSIZE": errno.ENOSPC,
    "SQLITE_IOERR_WRITE": errno.EDQUOT,  # Or another limit; the next fsync finds a failing disk.
    "SQLITE_NOMEM": errno.ENOMEM,
    "SQLITE_PROTOCOL": errno.EAGAIN,  # Many processes opened it at once.
}
_PROBLEMS: Final = {
    "SQLITE_BUSY": f"was locked by another program for {_PATIENCE:.0f} seconds",
    "SQLITE_CANTOPEN": "cannot be opened: check that it is a file, and the permissions of it and its directory",
    "SQLITE_CORRUPT": "is damaged and was left unchanged: restore a copy, or use another path",
    "SQLITE_FULL": "cannot grow, because the disk is full: free some space",
    "SQLITE_IOERR": "cannot be read, written or synced: the disk is failing or its file system cannot do it: use a local disk",
    "SQLITE_NOTADB": "is not an SQLite database and was left unchanged: use another path",
    "SQLITE_READONLY": "cannot be written: check the owner and permissions of it and its directory",
}
_NO_DIRECTORY: Final = ": create its directory if it does not exist"
_NO_PERMISSION: Final = ": check the owner and permissions of it and its directory"
_ADVICE: Final = {
    errno.ENOENT: _NO_DIRECTORY,
    errno.ENOTDIR: _NO_DIRECTORY,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
}

StrPath: TypeAlias = str | os.PathLike[str]
_T = TypeVar("_T")


class SQLiteStore:
    """Keeps everything in one file, readable only by its owner; several processes may share it.

    The file is created on first use. A killed process loses nothing that was recorded; after a power failure the last
    seconds may be missing, and come again. It must not be on a network drive, where SQLite's write-ahead log does not
    work. All work is done in a worker thread, and finishes there even if its caller is cancelled.

    Args:
        path: the file; `-wal` and `-shm` files are beside it while it is open.

    Raises:
        ConfigurationError: the path is empty or `:memory:`, or not a valid file name.
    """

    def __init__(self, path: StrPath) -> None:
        if os.fspath(path) in {"", ":memory:"}:
            raise ConfigurationError("path must name a file: use MemoryStore to keep everything in memory")

        if not _can_be_a_name(path):
            raise ConfigurationError(f"path must be a valid file name, not {os.fspath(path)!a}")

        if not _has_sqlite():
            raise ConfigurationError(
                "this Python was built without SQLite: install its development files (libsqlite3-dev) and rebuild Python, "
                "or pass a store of your own"
            )

        self.path: Final = Path(path).absolute()
        self._turn: RunVar[anyio.CapacityLimiter] | None = None
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._process = 0
        self._identity = (0, 0)
        self._closed = False

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""

        def work(database: "sqlite3.Connection") -> Checkpoint | None:
            find = "SELECT marks, catching_up, begins FROM checkpoint WHERE scope = ?"
            for marks, catching_up, begins in database.execute(find, [scope]):
                return Checkpoint(marks=_numbers(marks), catching_up=bool(catching_up), begins=begins)

            return None

        return await self._in_thread(work)

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""
        given = set(ids)

        def work(database: "sqlite3.Connection") -> set[str]:
            database.execute("BEGIN")
            find = "SELECT 1 FROM seen WHERE scope = ? AND id = ?"
            return {id_ for id_ in given if not database.execute(find, [scope, _blob(id_)]).fetchone()}

        return await self._in_thread(work)

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids and the checkpoint, in one transaction."""
        given = list(ids)

        def work(database: "sqlite3.Connection") -> None:
            database.execute("BEGIN IMMEDIATE")
            rows = ((scope, _blob(id_), now) for id_ in given)
            database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", rows)
            if checkpoint is not None:
                marks = " ".join(map(repr, checkpoint.marks))
                row = (scope, marks, checkpoint.catching_up, checkpoint.begins)
                database.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)", row)

        await self._in_thread(work)

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""

        def work(database: "sqlite3.Connection") -> None:
            database.execute("DELETE FROM seen WHERE scope = ? AND first_seen < ?", [scope, before])

        await self._in_thread(work)

    async def aclose(self) -> None:
        """Close the file, after whatever is under way; idempotent."""
        import anyio.to_thread

        try:
            await anyio.to_thread.run_sync(self._close, limiter=self._limiter())
        finally:
            if not self._closed:  # asyncio's own cancellation came before the thread started.
                self._close()

    def __repr__(self) -> str:
        return f"<SQLiteStore at {self.path}>"

    async def _in_thread(self, work: "Callable[[sqlite3.Connection], _T]") -> _T:
        import anyio.to_thread

        until = time.monotonic() + _PATIENCE  # Shared by all who wait for a locked file, not one for each.
        try:
            with no_thread_is_an_os_error():
                return await anyio.to_thread.run_sync(self._do, work, until, limiter=self._limiter())
        except OSError as error:  # `_do` raises none.
            problem = str(error)

        raise StoreError(f"the file {self.path} cannot be used now: {problem}", retryable=True)

    def _limiter(self) -> "anyio.CapacityLimiter":
        """Return this event loop's own limiter, so waiting for a locked file takes none of the program's threads."""
        from anyio.lowlevel import RunVar

        self._turn = self._turn or RunVar("the store's turn")
        limiter = self._turn.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(1)
            self._turn.set(limiter)

        return limiter

    def _do(self, work: "Callable[[sqlite3.Connection], _T]", until: float) -> _T:
        import sqlite3

        if self._is_inherited():
            raise StoreError(f"the store at {self.path} was opened before a fork: make one in each process")

        with self._lock:
            try:
                database = self._opened(until)
                with database:
                    return work(database)
            except (sqlite3.Error, OSError, ValueError) as error:
                problem, retryable = _problem(error)

        raise StoreError(f"the file {self.path} {problem}", retryable=retryable)

    def _close(self) -> None:
        if self._is_inherited():
            return  # Closing it would release the locks of the process that opened it.

        with self._lock:
            self._closed = True
            if self._database is not None:
                self._database.close()
                self._database = None

    def _is_inherited(self) -> bool:
        return self._database is not None and self._process != os.getpid()

    def _opened(self, until: float) -> "sqlite3.Connection":
        if self._closed:
            raise StoreError(f"the store at {self.path} is closed: make a new one")

        patience = max(0.0, until - time.monotonic())
        if self._database is None:
            self._database = self._open(patience)
            self._process, self._identity = os.getpid(), _identity(self.path)

        if _identity(self.path) != self._identity:
            raise StoreError(f"the file {self.path} was replaced while it was open: start again")

        self._database.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
        return self._database

    def _open(self, patience: float) -> "sqlite3.Connection":
        import sqlite3

        check_open_files(_FILES)  # SQLite would only say that it cannot open a file.
        file = Path(os.path.realpath(self.path))  # A symlink may lead into a fresh volume.
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

        if file.stat().st_size == 1:  # SQLite would take it for an empty file.
            raise StoreError(f"the file {self.path} {_PROBLEMS['SQLITE_NOTADB']}")

        self._check_names(file, patience)
        database = sqlite3.connect(file, timeout=patience, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(database)
        except BaseException:
            database.close()
            raise

        return database

    def _check_names(self, file: Path, patience: float) -> None:
        """Refuse a file that is in use under another name: what is in that name's log would be lost."""
        from greenapi_async.stores import names

        log = names.other_log(file)
        if log is None and not names.is_locked_elsewhere(file, time.monotonic() + patience):
            return

        if log is None and file.stat().st_nlink == 1:
            raise StoreError(f"the file {self.path} {_PROBLEMS['SQLITE_BUSY']}", retryable=True)

        raise StoreError(
            f"the file {self.path} is in use under another name, whose log is not visible from here "
            f"({log or 'see ls -l: it has hard links'}): open it by that name only"
        )

    def _prepare(self, database: "sqlite3.Connection") -> None:
        """Create the tables in an empty file, migrate an older one, and refuse to touch what is not ours."""
        with database:
            database.execute("BEGIN IMMEDIATE")
            owner = _number(database, "PRAGMA application_id")
            version = _number(database, "PRAGMA user_version")
            tables = _number(database, "SELECT count(*) FROM sqlite_master")

            if tables == owner == version == 0:
                _execute(database, _SCHEMA)
            elif (owner, version) == (_APPLICATION_ID, 1):
                _execute(database, _FROM_FORMAT_1)
            elif owner != _APPLICATION_ID:
                raise StoreError(f"the file {self.path} belongs to another program: use another path")
            elif version != _FORMAT:
                raise StoreError(
                    f"the file {self.path} has format {version}, and this version of greenapi_async knows "
                    f"format {_FORMAT}: install a newer one, or use another path"
                )

        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _has_sqlite() -> bool:
    try:
        import sqlite3  # noqa: F401
    except ImportError:
        return False

    return True


def _can_be_a_name(path: StrPath) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # Half an emoji, for example from a contact's name.
        return False


def _execute(database: "sqlite3.Connection", statements: Iterable[str]) -> None:
    for statement in statements:
        database.execute(statement)


def _number(database: "sqlite3.Connection", pragma: str) -> int:
    [number] = database.execute(pragma).fetchone()
    return int(number)


def _numbers(marks: str) -> tuple[float, ...]:
    numbers = tuple(map(float, marks.split()))
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError(f"no marks: {marks!r}")

    return numbers


def _blob(id_: str) -> bytes:
    # The API's JSON can hold half a surrogate pair, which SQLite's texts cannot.
    return id_.encode("utf-8", "surrogatepass")


def _problem(error: Exception) -> tuple[str, bool]:
    """Return what is wrong with the file, and whether waiting may help."""
    if isinstance(error, ValueError):
        return _PROBLEMS["SQLITE_CORRUPT"], False

    if isinstance(error, OSError):
        return f"failed: {error.strerror}{_ADVICE.get(error.errno or 0, '')}", may_pass(error)

    name: str = getattr(error, "sqlite_errorname", "")
    kind = "_".join(name.split("_")[:2])
    said = _ERRNOS.get(name) or _ERRNOS.get(kind)
    return _PROBLEMS.get(kind, f"failed: {error}"), said is not None and may_pass(OSError(said, ""))
