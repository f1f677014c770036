"""Fuzz the decoder through `fetch`, guided by coverage: `nox -s fuzz`, by hand.

The first byte of an input picks the HTTP code and the packing, the rest is the body. What is found goes to
`tests/corpus/`, where `tests/_decoding/test_corpus.py` replays it.
"""

import asyncio
import gzip
import json
import random
import shutil
import sys
from pathlib import Path

import atheris

TESTS = Path(__file__).parent.parent
NASTY = [
    None,
    "",
    0,
    -1,
    2**64,
    1.5,
    float("inf"),
    True,
    [],
    {},
    [[]],
    "\x1b[2J",
    "\u202e",
    "\ud83d",
    "\x00",
    "*" * 2000,
]
sys.path.insert(0, str(TESTS / "support"))

with atheris.instrument_imports(include=["greenapi_async", "cattrs"]):
    from decoding import examine, read_case
    from samples import SAMPLES

    asyncio.run(examine(json.dumps(SAMPLES).encode()))  # Loads what is imported late.


def main():
    """Run for the seconds given first (600 without), passing on further arguments to libFuzzer."""
    seconds, *others = sys.argv[1:] or ["600"]
    inputs = Path.cwd() / ".fuzz"
    shutil.rmtree(inputs, ignore_errors=True)
    _sow(inputs)

    runner = asyncio.Runner()
    arguments = [
        str(inputs),
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=65536",
    ]
    atheris.Setup(
        [sys.argv[0], *arguments, *others],
        lambda data: runner.run(examine(**read_case(data))),
        custom_mutator=_mutate,
    )
    atheris.Fuzz()


def _sow(inputs):
    inputs.mkdir(parents=True)
    seeds = [json.dumps([sample]).encode() for sample in SAMPLES]
    for number, seed in enumerate([*seeds, b"[]", b"null", b'{"status":false,"reason":"starting"}']):
        (inputs / f"seed{number}").write_bytes(b"\0" + seed)
        (inputs / f"packed{number}").write_bytes(b"\1" + gzip.compress(seed))
        (inputs / f"refused{number}").write_bytes(b"\4" + seed)

    for found in (TESTS / "corpus").glob("*"):
        shutil.copy(found, inputs)


def _mutate(data, max_size, seed):
    """Damage the bytes, or else, where they are JSON, one value in it."""
    dice = random.Random(seed)
    try:
        body = json.loads(data[1:])
    except (ValueError, RecursionError):
        body = None

    if body is None or dice.random() < 0.3:
        return atheris.Mutate(data, max_size)

    return (data[:1] + json.dumps(_damaged(body, dice)).encode())[:max_size]


def _damaged(value, dice):
    if not value or not isinstance(value, list | dict) or dice.random() < 0.1:
        return dice.choice([*NASTY, [value], [value, value]])

    if isinstance(value, list):
        place = dice.randrange(len(value))
        return [*value[:place], _damaged(value[place], dice), *value[place + 1 :]]

    name = dice.choice(list(value))
    if dice.random() < 0.2:
        return {key: each for key, each in value.items() if key != name}

    return value | {name: _damaged(value[name], dice)}


if __name__ == "__main__":
    main()
