"""Answers that once broke the decoder, or nearly, and every way of spoiling a real one."""

import gzip
import json
from pathlib import Path

import pytest
from decoding import examine, read_case
from hypothesis import given
from hypothesis import strategies as st
from samples import SAMPLES

from greenapi_async import DecodeError, GreenApiError, from_dict

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("case", sorted((TESTS / "corpus").iterdir()), ids=lambda path: path.name)
async def test_what_was_found_once_stays_fixed(case):
    """A case of the corpus is a byte for the HTTP code and the packing, and a body."""
    await examine(**read_case(case.read_bytes()))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["typeMessage"])
async def test_an_answer_cut_anywhere_is_refused_as_a_whole(sample):
    """Half an answer must not pass for a whole one, at whatever byte it ends."""
    whole = json.dumps([sample], ensure_ascii=False).encode()

    results = [await examine(whole[:end]) for end in range(1, len(whole))]
    packed = [await examine(gzip.compress(whole)[:end], content_encoding="gzip") for end in range(1, 60)]

    assert all(isinstance(result, DecodeError) for result in results)
    assert all(isinstance(result, GreenApiError) for result in packed)


def flipped(body, bits):
    """Return the body with some of its bits turned over."""
    spoilt = bytearray(body)
    for bit in bits:
        spoilt[bit // 8 % len(body)] ^= 1 << bit % 8
    return bytes(spoilt)


def duplicated(sample, name, value):
    """Return an array of the sample, one of whose keys stands there twice."""
    return f"[{json.dumps(sample)[:-1]},{json.dumps(name)}:{value}}}]".encode()


real_bodies = st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=3).map(
    lambda samples: json.dumps(samples, ensure_ascii=False).encode()
)
odd_values = st.sampled_from(
    [
        "9" * 5000,
        "-0",
        "1e999",
        "-1E-999",
        "NaN",
        "1.0",
        "0" * 9,
        '"\\ud83d"',
        '"\\u0000"',
        "[" * 60 + "]" * 60,
    ]
)
odd_bodies = (
    st.builds(flipped, real_bodies, st.lists(st.integers(0, 2**16), max_size=3))
    | st.builds(
        duplicated,
        st.sampled_from(SAMPLES),
        st.sampled_from(["idMessage", "timestamp", "typeMessage", "chatId", "downloadUrl", "new"]),
        odd_values,
    )
    | st.integers(1, 400).map(lambda depth: b"[" * depth + b"]" * depth)
    | st.binary()
)


@given(odd_bodies, st.sampled_from([200, 200, 200, 400, 466, 502]), st.booleans())
async def test_a_spoilt_answer_gives_statuses_or_our_own_error(body, http_code, packed):
    """Whatever bytes come, nothing but our errors comes out, and whatever comes out can be shown."""
    wire = gzip.compress(body) if packed else body

    await examine(wire, http_code=http_code, content_encoding="gzip" if packed else "")


@given(st.integers(0, 2**16), st.sampled_from([200, 502]))
async def test_a_spoilt_packing_gives_our_own_error(bit, http_code):
    body = flipped(gzip.compress(json.dumps(SAMPLES).encode(), mtime=0), [bit])

    await examine(body, http_code=http_code, content_encoding="gzip")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def odd_items(draw):
    """A sample whose fields are anything, or gone."""
    item = dict(draw(st.sampled_from(SAMPLES)))
    for name in draw(st.lists(st.sampled_from(sorted(item)), max_size=3)):
        item[name] = draw(json_values)
    return item


@given(json_values | odd_items())
async def test_whatever_item_comes_none_is_dropped(item):
    """For every item there is a status, and whatever was sent can be written again."""
    [status, other] = await examine(json.dumps([item, SAMPLES[0]]).encode())

    assert {status.key, other.key} >= {from_dict(SAMPLES[0]).key}
