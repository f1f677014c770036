"""Whether a database is in use under another name, beside which SQLite keeps a log that we do not see."""

import sqlite3
import time
from pathlib import Path

_RETRY_INTERVAL = 0.01


def other_log(file: Path) -> Path | None:
    """Return the log beside another name of the file in its directory, or None.

    It may be left by a killed process, and then be the only copy of what that process recorded.
    """
    if file.stat().st_nlink == 1:
        return None

    logs = (each for each in file.parent.glob("*-wal") if each != log_of(file))
    return next((each for each in logs if _is(file, each.with_name(each.name.removesuffix("-wal")))), None)


def is_locked_elsewhere(file: Path, until: float) -> bool:
    """Return whether another process has locked a file that has no log; wait until a monotonic time for its release.

    Whoever uses our database locks the file itself, whatever its name, but has a log beside the name it opened: a hard
    link in another directory, or a mount in a container.
    """
    while not log_of(file).exists():
        if not _is_locked(file):
            return False

        if time.monotonic() > until:
            return True

        time.sleep(_RETRY_INTERVAL)  # Another process may be making its log.

    return False


def log_of(file: Path) -> Path:
    """Return where SQLite keeps the log."""
    return file.with_name(f"{file.name}-wal")


def _is(file: Path, other: Path) -> bool:
    try:
        return other.samefile(file)
    except OSError:
        return False


def _is_locked(file: Path) -> bool:
    database = sqlite3.connect(file, timeout=0.0, isolation_level=None)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # Taken before the log is made.
        database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:  # Whatever else is wrong is reported when the file is opened.
        return error.sqlite_errorname == "SQLITE_BUSY"
    finally:
        database.close()

    return False
