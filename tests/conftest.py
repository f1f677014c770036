"""What every test shares."""

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings
from versions import ANYIO

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("default")


def pytest_configure(config):
    """Let an old anyio leave sockets of failed connects to the garbage collector, in whichever test that runs."""
    if ANYIO < (4, 16):
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Runs every test that carries `pytest.mark.anyio` on both event loops."""
    return request.param


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell's background job ignores it, and a command that a test interrupts would go on for ever."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def nothing_left_to_collect():
    """Collect garbage after a test, so that what it warns of is not told of another."""
    yield
    gc.collect()
