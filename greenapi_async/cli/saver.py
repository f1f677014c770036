"""Saves what a watch shows, and tells of what could not be saved."""

from collections.abc import Callable
from pathlib import Path

import attrs

from greenapi_async._media import save as media
from greenapi_async.cli.terminal import shown
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.errors import DirectoryError, MediaError, TransportError
from greenapi_async.models import MediaStatus, Status


@attrs.frozen(kw_only=True)
class Saver:
    """Saves statuses in a directory: all as JSON, and the files of those that have one.

    `tell` takes the lines about what failed; `allow_loopback` is for the simulator.
    """

    client: AsyncStatusesClient
    directory: Path
    allow_loopback: bool
    tell: Callable[[str], None]

    async def prepare(self) -> None:
        """Make the directory.

        Raises:
            MediaError: it cannot be made.
        """
        await media.make_directory(self.directory)

    async def save(self, status: Status) -> Path | None:
        """Save a status, and return the path of its picture, video or voice note.

        A download that fails is told of, and the JSON stays in its stead.

        Raises:
            MediaError: the directory takes nothing: then it is better to stop than to go on without.
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

        self.tell(shown(f"not saved: {failure}; what is known of it is in {sidecar}"))
        if failure.retryable:
            self.tell("for another try, watch with a new --state: nothing that is saved is downloaded twice")

        return None
