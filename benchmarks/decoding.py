"""From the bytes of a response to statuses."""

import functools

from benchmarks import _ours, pages
from benchmarks.measuring import Call, Effort, Spread, interleave, ratio
from benchmarks.peers import DECODERS, OURS, STRICT
from benchmarks.results import Bound, Result, Table, milliseconds, with_quartiles
from greenapi_async import MemoryStore

_SIZES = (10, 100, 500, 5000)
_LIMIT = "orjson.loads"


async def measure(effort: Effort) -> list[Result]:
    """Compare decoders on one page, new and odd and known, and on pages of all sizes."""
    rows = [
        await _row(effort, "all new", 1.9, pages.body(500)),
        await _row(effort, "one unknown field on each", 5.5, pages.with_unknown_fields(500)),
        await _row(effort, "1 % odd", 5.2, pages.with_odd_items(500)),
        await _nothing_new(effort),
    ]
    return [*(row for row, _ in rows), _strict_peers(rows), await _table(effort)]


async def _row(effort: Effort, case: str, limit: float, body: bytes) -> tuple[Bound, Spread]:
    contenders = {name: _decoding(name, body) for name in (OURS, _LIMIT, STRICT)}
    return await _bound(effort, case, limit, contenders)


async def _nothing_new(effort: Effort) -> tuple[Bound, Spread]:
    body, store = pages.body(500), MemoryStore()
    await store.record(_ours.SCOPE, await _ours.keys(body), None, 0.0)
    assert await _ours.decode_new(body, store) == []

    contenders = {name: _decoding(name, body) for name in (_LIMIT, STRICT)}
    nothing_new: Call = functools.partial(_ours.decode_new, body, store)
    return await _bound(effort, "nothing new", 0.6, {OURS: nothing_new, **contenders})


async def _bound(
    effort: Effort, case: str, limit: float, contenders: dict[str, Call]
) -> tuple[Bound, Spread]:
    costs = await interleave(contenders, effort.of(60, 3))
    name = f"page of 500, {case}: CPU, of `{_LIMIT}`"
    ours, theirs = (ratio(costs[each], costs[_LIMIT], "cpu") for each in (OURS, STRICT))
    return Bound(name, limit, ours), theirs


def _strict_peers(rows: list[tuple[Bound, Spread]]) -> Table:
    return Table(
        "Decoding beside a strict model",
        f"The rows that must hold, and `{STRICT}`: no value is coerced, unknown fields and kinds are kept.",
        ["", OURS, STRICT],
        [[row.name, with_quartiles(row.reached), with_quartiles(theirs)] for row, theirs in rows],
    )


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
        f"{len(pages.body(500)):,} bytes. `msgspec Structs` is the lower limit for typed objects, "
        "`orjson.loads` for dictionaries.",
        ["decoder", *(head for size in sizes for head in (f"{size:,}", f"of `{_LIMIT}`"))],
        list(rows.values()),
    )


def _decoding(name: str, body: bytes) -> Call:
    return functools.partial(DECODERS[name], body)
