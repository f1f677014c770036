"""The field suite runs on every event loop that can be had; on uvloop in the long session."""

import pytest
from backends import ASYNCIO, TRIO, uvloop


@pytest.fixture(params=[ASYNCIO, TRIO, uvloop(pytest.mark.long)])
def anyio_backend(request):
    return request.param
