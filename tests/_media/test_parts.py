"""A file that another process is writing: waited for as long as it grows."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import anyio
import pytest
from clients import client_of
from media_world import JPEG, posted

from greenapi_async import MediaError
from greenapi_async._media.name import stem
from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.anyio

_WRITER = """
import sys, time
from pathlib import Path
from greenapi_async._media.part import claim
partial = claim(Path(sys.argv[1]))
print("claimed", flush=True)
for _ in range(int(sys.argv[2])):
    partial.write(b"x")
    time.sleep(0.1)
"""


@contextmanager
def writer(path, *, grows=0):
    """Run a process that holds the part of a file, and is stopped in the middle of it."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(grows) if grows else "600"], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline() == b"claimed\n"
            if not grows:
                process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


async def test_part_that_a_stopped_process_holds_is_no_endless_wait(tmp_path):
    """A laptop's suspended terminal, a debugger: `save_media` waited for ever. It comes once that process is gone."""
    async with Simulator(max_rate=None) as api, client_of(api, timeout=0.5) as client:
        status = posted(api)
        with (
            writer(tmp_path / f"{stem(status)}.jpg"),
            anyio.fail_after(10),
            pytest.raises(MediaError, match="another process") as caught,
        ):
            await client.save_media(status, tmp_path, allow_loopback=True)

        path = await client.save_media(status, tmp_path, allow_loopback=True)

    assert caught.value.retryable
    assert path.read_bytes() == JPEG


async def test_part_that_grows_is_waited_for(tmp_path):
    """However long the other one takes."""
    async with Simulator(max_rate=None) as api, client_of(api, timeout=0.6) as client:
        status = posted(api)
        with writer(tmp_path / f"{stem(status)}.jpg", grows=15) as process:
            path = await client.save_media(status, tmp_path, allow_loopback=True)
            assert process.wait(5) == 0

    assert path.read_bytes() == JPEG
