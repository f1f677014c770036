"""How wide a window the API accepts: what to request if a wide one is refused. Pure: no await, no clock."""

from collections.abc import Sequence
from typing import Final

import attrs

from greenapi_async.errors import BadRequestError, GreenApiError

_STEPS: Final = (20_160, 10_080, 4_320, 3_240, 1_440)


@attrs.define(eq=False, repr=False)
class Width:
    """What one poller found out.

    A 400 may mean that the window is too wide, if no window that wide has worked before. Then narrower ones are
    requested, and their statuses are delivered. It counts as a limit only if the wide window is refused again after a
    narrower one worked: a hiccup must not cost days.
    """

    _widest: int = 0

    def answered(self, minutes: int) -> None:
        """Record a window that was not refused."""
        self._widest = max(self._widest, minutes)

    def narrower(self, minutes: int, error: GreenApiError) -> Sequence[int]:
        """Return what to request in place of a refused window, the widest first; nothing if its width is not why."""
        if not self.is_too_wide(minutes, error):
            return ()

        return [step for step in _STEPS if step < minutes]

    def is_too_wide(self, minutes: int, error: GreenApiError) -> bool:
        """Return whether a refusal may mean that the minutes are too many."""
        return isinstance(error, BadRequestError) and error.http_code == 400 and minutes > self._widest
