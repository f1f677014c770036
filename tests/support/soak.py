"""Polls a faulty simulator at high speed for minutes, and watches memory and open files.

`python tests/support/soak.py 10` runs for ten minutes, a thousand times as fast as the clock, and fails where memory or
open files grow, or where a status is lost, or repeated more often than the poller was cancelled; of memory a run of less
than four minutes tells nothing. With `--proxy` it goes through a proxy that fails at random.
"""

import logging
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
from process import open_files
from proxies import way_to

from greenapi_async import AsyncStatusesClient
from greenapi_async._polling import backoff as _backoff
from greenapi_async.simulator import Answer, Delay, Refuse, Reset, Simulator, Truncate

SPEED = 1000.0
SAMPLES = 60
WARM = 200.0  # Seconds until the widest windows are full, and SQLite's cache.
FAULTS = [
    lambda: Refuse(502),
    lambda: Refuse(429),
    lambda: Answer(b"null"),
    lambda: Answer(b"<html>captive portal"),
    lambda: Answer(b'[{"idMessage": 1, "timestamp'),
    Reset,
    Truncate,
    lambda: Delay(0.05),
]


def clock_since(began):
    return lambda: began + (time.time() - began) * SPEED


def serve(pipe, began, proxy):
    """Post and fail at random until told to stop; then tell every id, and answer well for a while."""

    async def main():
        dice = random.Random()
        posted = []
        async with (
            Simulator(max_rate=None, clock=clock_since(began)) as api,
            way_to(api, proxy=proxy) as (url, environment),
        ):
            pipe.send((url, api.id_instance, api.token, environment))
            while not pipe.poll():
                late = dice.choice([0, 0, dice.uniform(0, 20 * 3600)])
                kind = dice.choice(["text", "image", "video", "audio"])
                posted.append(api.post(kind, late=late)["idMessage"])
                if dice.random() < 0.3:
                    api.faults.append(dice.choice(FAULTS)())
                await anyio.sleep(0.1)

            api.faults.clear()
            pipe.send(posted)
            while pipe.poll():
                pipe.recv()
            await anyio.to_thread.run_sync(pipe.recv)

    anyio.run(main)


async def poll(minutes, pipe, began, directory):
    """Poll, cancelled now and then, until every status was seen; return what was seen and measured."""
    url, id_instance, token, environment = pipe.recv()
    os.environ.update(environment)
    dice = random.Random()
    seen, samples, cancelled, posted = Counter(), [], 0, None
    began_at = time.monotonic()
    ends = began_at + 60 * minutes

    async with AsyncStatusesClient(
        id_instance,
        token,
        api_url=url,
        max_rate=None,
        timeout=2 if environment else 5,
        clock=clock_since(began),
    ) as client:
        while posted is None or not posted <= seen.keys():
            with anyio.move_on_after(dice.expovariate(1 / 3)) as scope:
                async for status in client.poll(interval=0.02, store=directory / "seen.db"):
                    seen[status.id_message] += 1
                    await anyio.lowlevel.checkpoint()
            cancelled += scope.cancelled_caught

            if len(samples) < SAMPLES * (1 - (ends - time.monotonic()) / (60 * minutes)):
                samples.append((time.monotonic() - began_at, *measured()))
            if posted is None and time.monotonic() > ends:
                pipe.send("stop")
                posted = set(pipe.recv())

    return seen, samples, cancelled, posted


def measured():
    """Return the resident memory in MB and the number of open files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, open_files()


def main(minutes, *, proxy):
    _backoff.delay = lambda *_: 0.01
    logging.disable()
    began = time.time()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, began, proxy))
    server.start()

    with tempfile.TemporaryDirectory() as directory:
        seen, samples, cancelled, posted = anyio.run(poll, minutes, ours, began, Path(directory))
    ours.send("over")
    server.join()

    steady = [sample for sample in samples if sample[0] > WARM] or samples
    _, memory, files = zip(*steady, strict=True)
    slope = statistics.linear_regression(range(len(memory)), memory).slope * len(memory)
    repeats = seen.total() - len(seen)
    print(
        f"{minutes} min, {len(posted)} statuses, {cancelled} cancellations: {repeats} repeated; memory "
        f"{memory[0]:.1f} to {memory[-1]:.1f} MB, trend {slope:+.2f} MB; open files {min(files)} to {max(files)}"
    )
    assert posted == seen.keys()
    assert repeats <= cancelled
    assert slope < 0.05 * memory[0] or steady == samples
    assert max(files) - min(files) <= 3


if __name__ == "__main__":
    main(float(sys.argv[1]), proxy="--proxy" in sys.argv)
