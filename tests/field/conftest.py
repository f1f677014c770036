"""The field suite runs on every event loop that can be had."""

from importlib.util import find_spec

import pytest

WITHOUT_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not for this system")


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=WITHOUT_UVLOOP),
    ]
)
def anyio_backend(request):
    return request.param
