"""What a beginner reads when something is wrong: each message names the culprit and what to do."""

import errno
import os
import socket

import pytest
from clients import client, failure_of
from fake_api import FakeApi, reply

from greenapi_async import (
    AccessDeniedError,
    AsyncStatusesClient,
    ConfigurationError,
    SQLiteStore,
    StoreError,
    TransportError,
)
from greenapi_async.stores import sqlite


@pytest.fixture
def closed_port():
    """A port of this machine where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.anyio
async def test_a_refused_connection_names_address_and_reason(closed_port):
    """It said that all connection attempts had failed."""
    failure = await failure_of(client(api_url=f"http://127.0.0.1:{closed_port}"))

    assert isinstance(failure, TransportError)
    assert str(failure) == f"ConnectError: Connection refused (127.0.0.1:{closed_port})"


@pytest.mark.anyio
async def test_a_refusing_host_of_several_addresses_names_one_reason(closed_port):
    """localhost is two addresses on many machines."""
    failure = await failure_of(client(api_url=f"http://localhost:{closed_port}"))

    assert str(failure) == f"ConnectError: Connection refused (localhost:{closed_port})"


@pytest.mark.anyio
async def test_a_host_that_does_not_exist_is_named():
    """A letter is missing in the address, and who reads a log does not know which it was."""
    failure = await failure_of(client(api_url="https://1101.api.green-apl.invalid"))

    assert isinstance(failure, TransportError)
    assert str(failure).endswith(" (1101.api.green-apl.invalid:443)")


@pytest.mark.anyio
async def test_a_proxy_that_refuses_names_the_reason(monkeypatch, closed_port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "")

    failure = await failure_of(client(api_url="https://1101.api.green-api.com"))

    assert "HTTPS_PROXY" in str(failure)
    assert "Connection refused" in str(failure)
    assert "password" not in str(failure)


def test_a_token_file_that_is_not_there_says_so(monkeypatch, tmp_path):
    """It said that the file could not be read as UTF-8."""
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")
    monkeypatch.delenv("GREEN_API_TOKEN_INSTANCE", raising=False)
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", str(tmp_path / "token"))

    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file or directory"):
        AsyncStatusesClient.from_env()


@pytest.mark.anyio
async def test_access_denied_names_the_id():
    """A wrong digit in it is the commonest reason."""
    failure = await failure_of(client(FakeApi(reply(403))))

    assert isinstance(failure, AccessDeniedError)
    assert "GREEN_API_ID_INSTANCE" in str(failure)


@pytest.mark.anyio
async def test_a_store_in_a_directory_that_is_not_there_says_so(tmp_path):
    """Only the path and errno 2 were told."""
    store = SQLiteStore(tmp_path / "no" / "seen.db")

    with pytest.raises(
        StoreError,
        match=r"seen\.db failed: No such file or directory: create its directory if it does not exist",
    ):
        await store.load("1")


@pytest.mark.anyio
async def test_a_store_in_a_directory_that_is_a_file_says_so(tmp_path):
    (tmp_path / "stories").write_text("")
    store = SQLiteStore(tmp_path / "stories" / "seen.db")

    with pytest.raises(
        StoreError, match="failed: Not a directory: create its directory if it does not exist"
    ):
        await store.load("1")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_store_in_a_directory_that_takes_nothing_says_so(number):
    """Root, who runs many a test, may write anywhere, so no real directory is tried."""
    problem, is_retryable = sqlite._problem(PermissionError(number, os.strerror(number)))

    assert (
        problem == f"failed: {os.strerror(number)}: check the owner and permissions of it and its directory"
    )
    assert not is_retryable
