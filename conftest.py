"""The Python blocks of README.md and docs/ run as tests, against the simulator."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from greenapi_async import AsyncStatusesClient
from greenapi_async.simulator import Simulator, demo

_LONG_ENOUGH = 1.5


def _run_for_a_while(main: Coroutine[Any, Any, Any]) -> Any:
    """Stand in for `asyncio.run`: an example may go on for ever, a test may not."""

    async def bounded() -> Any:
        with anyio.move_on_after(_LONG_ENOUGH):
            return await main

    return _run(bounded())


_run = asyncio.run


@contextmanager
def _simulator() -> Iterator[Simulator]:
    api, ready, over = Simulator(max_rate=None), threading.Event(), threading.Event()

    async def serve() -> None:
        async with api:
            await demo(api, every=0.0)
            ready.set()
            await anyio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=_run, args=[serve()])
    thread.start()
    ready.wait()
    try:
        yield api
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def example_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the examples' environment at a simulator with something to see, in a directory of their own."""
    with _simulator() as api, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        patch.setenv("GREEN_API_ID_INSTANCE", api.id_instance)
        patch.setenv("GREEN_API_TOKEN_INSTANCE", api.token)
        patch.setenv("GREEN_API_URL", api.url)
        patch.setattr(asyncio, "run", _run_for_a_while)
        # The simulator's files lie on this machine, and an example is for the real ones.
        patch.setitem(AsyncStatusesClient.save_media.__kwdefaults__, "allow_loopback", True)
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*/*.md", "docs/*/*/*.md"],
    setup=lambda namespace: namespace.update(asyncio=asyncio),
    fixtures=["example_api"],
).pytest()
