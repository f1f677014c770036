"""Saves the statuses that `watch` prints, and reports failed downloads."""

from collections.abc import Callable
from pathlib import Path

import attrs

from greenapi_async._media import save as media
from greenapi_async.cli.terminal import sanitized
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.errors import DirectoryError, MediaError, TransportError
from greenapi_async.models import MediaStatus, Status


@attrs.frozen(kw_only=True)
class StatusSaver:
    """Saves statuses in a directory: each as JSON, with its file if it has one.

    Attributes:
        client: downloads the files.
        directory: where to save.
        allow_loopback: whether to download from this machine, for the simulator.
        notify: called with each line about a failed download.
    """

    client: AsyncStatusesClient
    directory: Path
    allow_loopback: bool
    notify: Callable[[str], None]

    async def prepare(self) -> None:
        """Create the directory.

        Raises:
            DirectoryError: it cannot be created.
        """
        await media.make_directory(self.directory)

    async def save(self, status: Status) -> Path | None:
        """Save a status, and return the path of its picture, video or voice note, if any.

        A failed download is reported, and only the JSON is kept.

        Raises:
            DirectoryError: the directory cannot be written to, so continuing is pointless.
        """
        sidecar = await media.save_sidecar(status, self.directory)
        if not isinstance(status, MediaStatus):
            return None

        try:
            return await self.client.save_media(status, self.directory, allow_loopback=self.allow_loopback)
        except DirectoryError:
            raise
        except (MediaError, TransportError) as error:
            failure = error

        self.notify(sanitized(f"not saved: {failure}; its JSON is in {sidecar}"))
        if failure.retryable:
            self.notify(
                "to retry, run watch with a new --state: files already saved are not downloaded again"
            )

        return None
