"""One status and the program's handler: how often it is tried, and what happens if it fails."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from greenapi_async.errors import ConfigurationError
from greenapi_async.models import Status

if TYPE_CHECKING:
    from greenapi_async._polling.journal import Journal

Handler: TypeAlias = Callable[[Status], Awaitable[object]]
SetAside: TypeAlias = Callable[[Status, Exception], Awaitable[object]]


def check(handler: Handler, attempts: int | None, set_aside: SetAside | None) -> None:
    """Raise ConfigurationError if an option of `run` is wrong; the message names it."""
    if not callable(handler):
        raise ConfigurationError("handler must be an async function of one status")

    if attempts is None and set_aside is None:
        return

    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise ConfigurationError("attempts must be an integer of 1 or more: how often a handler is tried")

    if not callable(set_aside):
        raise ConfigurationError(
            "set_aside must be an async function of a status and an error: it gets what fails at every attempt"
        )


async def handle(
    status: Status,
    handler: Handler,
    *,
    attempts: int | None,
    set_aside: SetAside | None,
    journal: "Journal",
    pause: Callable[[int], Awaitable[None]],
) -> None:
    """Try a status until it is handled or set aside; without `set_aside`, raise what the handler raises.

    `pause(failures)` waits before the next attempt.
    """
    failures = 0
    while (error := await _failure(status, handler)) is not None:
        if set_aside is None or attempts is None:
            raise error

        failures += 1
        journal.attempt_failed(status, error, failures, attempts)
        if failures == attempts:
            await set_aside(status, error)
            return

        await pause(failures)


async def _failure(status: Status, handler: Handler) -> Exception | None:
    """Handle a status once, and return what the handler raised."""
    try:
        handled = handler(status)
        if inspect.isawaitable(handled):
            await handled
            return None
    except Exception as error:  # noqa: BLE001 - raised again, or passed to `set_aside`.
        return error

    raise ConfigurationError("handler must be an async function: `async def`")
