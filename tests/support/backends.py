"""The event loops that tests run on, as anyio knows them."""

from importlib.util import find_spec

import pytest

ASYNCIO = pytest.param(("asyncio", {}), id="asyncio")
TRIO = pytest.param(("trio", {}), id="trio")


def uvloop(*marks):
    """asyncio on uvloop, where that can be had."""
    missing = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not for this system")
    return pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=[missing, *marks])
