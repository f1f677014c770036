"""Which of the library's files one fetch and one poll tick pass through, and how often control returns upwards.

Run it as `python -m benchmarks.passes`. A call goes upwards if the caller's file does not import the called one,
directly or through others: it was made through a callback that was passed down.
"""

import ast
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

import greenapi_async
from greenapi_async import AsyncStatusesClient
from greenapi_async.simulator import Simulator

_PACKAGE = Path(greenapi_async.__file__).parent
_NAME = _PACKAGE.name


async def main() -> None:
    """Follow a client that has warmed up."""
    async with Simulator(max_rate=None) as api, _client(api) as client:
        api.post("text")
        poller = client.poll()

        async def tick() -> None:
            api.post("text")
            await (await poller.poll_once()).commit()

        for title, work in {"one fetch": client.fetch, "one poll tick": tick}.items():
            await work()
            calls = await _calls(work)
            files = {each for call in calls for each in call}
            upwards = [call for call in calls if call[1] not in _below(call[0])]
            print(f"{title}: {len(files)} files, {len(upwards)} calls upwards over {len(set(upwards))} edges")
            print("  files:", " ".join(sorted(files)))
            for caller, called in sorted(set(upwards)):
                print(f"  upwards: {caller} -> {called}, {upwards.count((caller, called))} times")


def _client(api: Simulator) -> AsyncStatusesClient:
    return AsyncStatusesClient(api.id_instance, api.token, api_url=api.url, max_rate=None)


async def _calls(work: Callable[[], Awaitable[Any]]) -> list[tuple[str, str]]:
    """Return the calls from one file of the library to another; a coroutine that goes on is no call."""
    found: list[tuple[str, str]] = []
    begun: set[int] = set()
    kept: list[FrameType] = []  # So that no id comes again.

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and id(frame) not in begun and (called := _file(frame)):
            begun.add(id(frame))
            kept.append(frame)
            caller = next(filter(None, map(_file, _callers(frame))), called)
            if caller != called:
                found.append((caller, called))

    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(None)

    return found


def _callers(frame: FrameType) -> Iterator[FrameType]:
    while (caller := frame.f_back) is not None:
        yield caller
        frame = caller


def _file(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    inside = path.is_relative_to(_PACKAGE) and "simulator" not in path.parts
    return str(path.relative_to(_PACKAGE)) if inside else None


@functools.cache
def _below(file: str) -> set[str]:
    """Return the files that a file imports, itself or through others."""
    below: set[str] = set()
    waiting = [file]
    while waiting:
        imported = _imported(waiting.pop()) - below
        below |= imported
        waiting += imported

    return below


def _imported(file: str) -> set[str]:
    tree = ast.parse((_PACKAGE / file).read_text(encoding="utf-8"))
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_NAME)
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    stems = {name.removeprefix(_NAME).strip(".").replace(".", "/") for name in names if name}
    files = {path for stem in stems for path in (f"{stem}.py", f"{stem}/__init__.py")}
    return {path for path in files if (_PACKAGE / path).is_file()}


if __name__ == "__main__":
    anyio.run(main)
