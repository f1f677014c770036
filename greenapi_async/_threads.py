"""Work in threads with the library's own limit: the program's threads may all be busy, or waiting for us."""

import errno
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import anyio

if TYPE_CHECKING:
    from anyio.lowlevel import RunVar

MOST: Final = 8
_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


async def in_thread(work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
    """Return what `work` returns; cancelling ends the wait for a thread, and asyncio's own also that for the work."""
    import anyio.to_thread  # noqa: PLC0415 - most clients need no threads.

    with no_thread_is_an_os_error():
        return await anyio.to_thread.run_sync(work, *arguments, limiter=_limiter())


async def until_cancelled(work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
    """Return what `work` returns; a cancellation abandons the thread, which finishes it."""
    import anyio.to_thread  # noqa: PLC0415

    with no_thread_is_an_os_error():
        return await anyio.to_thread.run_sync(
            work, *arguments, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
        )


async def to_the_end(work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
    """Return what `work` returns, or raise what it raises; a cancellation ends the wait for a thread, never the work.

    asyncio's own cancellation ignores shields, but a task group still waits for its tasks.
    """
    import anyio.to_thread  # noqa: PLC0415

    done: list[_T] = []
    failed: list[Exception] = []

    async def run_shielded() -> None:
        with anyio.CancelScope(shield=True):
            try:
                with no_thread_is_an_os_error():
                    done.append(
                        await anyio.to_thread.run_sync(work, *arguments, limiter=anyio.CapacityLimiter(1))
                    )
            except Exception as error:  # noqa: BLE001 - raised again outside the group.
                failed.append(error)

    async with _limiter(), anyio.create_task_group() as tasks:
        tasks.start_soon(run_shielded)

    if failed:
        raise failed[0]

    return done[0]


@contextmanager
def no_thread_is_an_os_error() -> Iterator[None]:
    """Raise an `OSError` if a thread cannot be started: containers limit them, and that may pass."""
    try:
        yield
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise

        said = str(error)
    else:
        return

    raise BlockingIOError(errno.EAGAIN, said)


def _limiter() -> "anyio.CapacityLimiter":
    """Return the limiter of this event loop."""
    limiter = _limiters().get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(MOST)
        _limiters().set(limiter)

    return limiter


@functools.cache
def _limiters() -> "RunVar[anyio.CapacityLimiter]":
    from anyio.lowlevel import RunVar  # noqa: PLC0415 - anyio loads it late, too.

    return RunVar("the threads of greenapi_async")
