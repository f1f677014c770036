"""From the bytes of an answer to statuses."""

import functools

from benchmarks import _ours, pages
from benchmarks.measuring import Call, Effort, interleave, ratio
from benchmarks.peers import DECODERS, OURS
from benchmarks.results import Bound, Result, Table, milliseconds, with_quartiles
from greenapi_async import MemoryStore

_SIZES = (10, 100, 500, 5000)
_LIMIT = "orjson.loads"


async def measure(effort: Effort) -> list[Result]:
    """Compare decoders on one page, and on pages of all sizes."""
    return [await _all_new(effort), await _nothing_new(effort), await _table(effort)]


async def _all_new(effort: Effort) -> Bound:
    body = pages.body(500)
    costs = await interleave({name: _decoding(name, body) for name in (OURS, _LIMIT)}, effort.of(60, 3))
    name = "page of 500 to `list[Status]`, all new: CPU, of `orjson.loads`"
    return Bound(name, 1.9, ratio(costs[OURS], costs[_LIMIT], "cpu"))


async def _nothing_new(effort: Effort) -> Bound:
    body, store = pages.body(500), MemoryStore()
    await store.record(_ours.SCOPE, await _ours.keys(body), None, 0.0)
    assert await _ours.decode_new(body, store) == []

    nothing_new: Call = functools.partial(_ours.decode_new, body, store)
    contenders = {OURS: nothing_new, _LIMIT: _decoding(_LIMIT, body)}
    costs = await interleave(contenders, effort.of(60, 3))
    name = "page of 500, nothing new: decoding and looking up, CPU, of `orjson.loads`"
    return Bound(name, 0.6, ratio(costs[OURS], costs[_LIMIT], "cpu"))


async def _table(effort: Effort) -> Table:
    sizes = _SIZES[: effort.of(4, 2)]
    rows = {name: [name] for name in DECODERS}
    for size in sizes:
        body = pages.body(size)
        costs = await interleave({name: _decoding(name, body) for name in DECODERS}, effort.of(30, 2))
        for name, each in costs.items():
            rows[name] += [milliseconds(each.cpu), with_quartiles(ratio(each, costs[_LIMIT], "cpu"))]

    return Table(
        "Decoding",
        "CPU time for pages of several sizes, in milliseconds, and of `orjson.loads`. A page of 500 has "
        f"{len(pages.body(500)):,} bytes. `msgspec Structs` is the least that typed objects cost, `orjson.loads` the "
        "least that dictionaries do.",
        ["decoder", *(head for size in sizes for head in (f"{size:,}", f"of `{_LIMIT}`"))],
        list(rows.values()),
    )


def _decoding(name: str, body: bytes) -> Call:
    return functools.partial(DECODERS[name], body)
