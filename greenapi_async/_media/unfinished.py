"""Statuses whose JSON was saved, but whose file was not."""

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from greenapi_async._decoding.statuses import from_dict
from greenapi_async._decoding.text import loads
from greenapi_async._media.attachment import has_file
from greenapi_async._media.disk import on_disk
from greenapi_async._media.name import stem
from greenapi_async.models import MediaStatus, Status, UnknownStatus

_SIDECAR = re.compile(r"[0-9]{8}T[0-9]{6}Z_[A-Za-z0-9_-]+\.json")


async def unfinished(directory: Path, since: datetime) -> list[MediaStatus | UnknownStatus]:
    """Return the statuses posted since then whose file is missing in the directory, oldest first.

    Raises:
        DirectoryError: it cannot be read.
    """
    return await on_disk(directory, _unfinished, directory, f"{since:%Y%m%dT%H%M%SZ}")


def _unfinished(directory: Path, since: str) -> list[MediaStatus | UnknownStatus]:
    names = {path.name for path in directory.iterdir()}
    saved = {name.partition(".")[0] for name in names if not name.endswith((".json", ".part", ".etag"))}
    sidecars = sorted(name for name in names if _SIDECAR.fullmatch(name) and name >= since)

    statuses = [_read(directory / name) for name in sidecars if name.partition(".")[0] not in saved]
    return [status for status in statuses if status is not None and has_file(status)]


def _read(sidecar: Path) -> Status | None:
    """Return the status in a file that we wrote, or None for any other."""
    with suppress(OSError, ValueError, RecursionError):
        status = from_dict(loads(sidecar.read_text(encoding="utf-8")))
        if stem(status) == sidecar.stem:
            return status

    return None
