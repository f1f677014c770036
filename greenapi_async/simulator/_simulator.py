"""The simulator: GREEN-API on a loopback socket."""

import ipaddress
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.from_thread import start_blocking_portal

from greenapi_async.simulator._api import Api
from greenapi_async.simulator._server import serve


class Simulator(Api):
    """A GREEN-API with one instance, on loopback, for tests, demos and experiments.

    `async with Simulator() as api:` listens at `api.url`; leaving the block closes every connection. Entering it
    again listens at the same address, with the same statuses. Without `async with` it opens no sockets, and
    `respond` can back a mock transport.

    `with Simulator() as api:` does the same in a thread of its own, for code that is not async and for fixtures of any
    pytest plugin. `post`, `post_raw`, `faults`, `media_faults`, `clock` and `contacts` can be used from any thread.

    `async with` must begin and end in the same task: inside a test, or in a fixture of anyio's pytest plugin. A
    pytest-asyncio fixture ends in a different task, which anyio does not allow: use `with` there.

    Args:
        id_instance: the instance id that a request must have.
        token: the token that a request must have; random by default.
        host: a loopback address; ValueError otherwise.
        port: 0 takes any free port.
        base_path: the path before `/waInstance`, for example `/v3`.
        clock: returns the server's time in seconds since the epoch.
        max_rate: requests per second, with 429 for more; None disables the limit.
        contacts: the account's contact book as sender ids; None shows everyone's statuses.

    Attributes:
        id_instance: the instance id that a request must have.
        token: the token that a request must have.
        clock: returns the server's time; can be replaced at any time.
        contacts: the contact book as sender ids, or None; can be replaced at any time.
        faults: each request to getIncomingStatuses takes one from the left; None gives a regular response.
        media_faults: the same for downloads.
        media: the files under `/media/`, by name.
        requests: the requests to getIncomingStatuses so far.
        connections: how many connections are open.
    """

    def __init__(
        self,
        *,
        id_instance: str = "1101000001",
        token: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        base_path: str = "",
        clock: Callable[[], float] = time.time,
        max_rate: float | None = 1.0,
        contacts: Collection[str] | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"host must be a loopback address, not {host!r}")

        super().__init__(
            id_instance=id_instance,
            token=token,
            host=host,
            port=port,
            base_path=base_path,
            clock=clock,
            max_rate=max_rate,
            contacts=contacts,
        )
        self.connections: int = 0
        self._listening: AbstractAsyncContextManager[None] | None = None
        self._thread = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._thread = stack.pop_all()

        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()  # What the block raised is its own: a Ctrl-C would kill the thread's event loop.

    async def __aenter__(self) -> Self:
        if self._listening is not None:
            raise RuntimeError("this simulator is listening already")

        self._listening = self._listen()
        try:
            await self._listening.__aenter__()
        except BaseException:
            self._listening = None
            raise

        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        listening, self._listening = self._listening, None
        return None if listening is None else await listening.__aexit__(exc_type, exc_value, traceback)

    @asynccontextmanager
    async def _listen(self) -> AsyncGenerator[None]:
        raised: BaseException | None = None

        async with (
            await anyio.create_tcp_listener(local_host=self._host, local_port=self._port) as listener,
            anyio.create_task_group() as tasks,
        ):
            self._port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - anyio's `extra`, not Django's.
            tasks.start_soon(listener.serve, self._serve)

            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again below, outside of the group.
                raised = error
            finally:
                tasks.cancel_scope.cancel()

        if raised is not None:
            raise raised

    async def _serve(self, stream: SocketStream) -> None:
        self.connections += 1

        try:
            await serve(stream, self.decide)
        finally:
            self.connections -= 1

            with anyio.CancelScope(shield=True):
                await stream.aclose()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
