"""What the environment of a process does to a client: certificates, key logs, files that hold the token."""

import traceback

import pytest

from greenapi_async import AsyncStatusesClient, ConfigurationError
from greenapi_async._http import transport
from greenapi_async.cli import main

TOKEN = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"


@pytest.fixture(autouse=True)
def no_context_yet(monkeypatch):
    """The process's TLS context is made when it is first needed, with what the environment says then."""
    monkeypatch.setattr(transport, "ssl_context", transport.ssl_context.__wrapped__)
    monkeypatch.setattr("greenapi_async._http.exchange.ssl_context", transport.ssl_context)


@pytest.fixture
def variables(monkeypatch):
    """The variables of a client, but for the token."""
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")
    for name in ("GREEN_API_TOKEN_INSTANCE", "GREEN_API_TOKEN_INSTANCE_FILE", "GREEN_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["nowhere", "empty", "no certificates"])
def bad_certificates(request, tmp_path):
    path = tmp_path / "certificates.pem"
    if request.param != "nowhere":
        path.write_text("" if request.param == "empty" else "hello")
    return str(path)


def test_certificate_file_that_cannot_be_read_is_told_at_once(bad_certificates, monkeypatch):
    """A container without the file raised a bare `FileNotFoundError`, of which nothing said what to do."""
    monkeypatch.setenv("SSL_CERT_FILE", bad_certificates)

    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        AsyncStatusesClient("1", TOKEN)


def test_key_log_that_cannot_be_written_is_told_at_once(tmp_path, monkeypatch):
    """`SSLKEYLOGFILE` is left behind by somebody who debugged, and named in no document of ours."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))

    with pytest.raises(ConfigurationError, match="SSLKEYLOGFILE"):
        AsyncStatusesClient("1", TOKEN)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_loopback_over_http_needs_neither(variable, tmp_path, monkeypatch):
    """Nothing is encrypted there."""
    monkeypatch.setenv(variable, str(tmp_path / "missing" / "file"))

    AsyncStatusesClient("1", TOKEN, api_url="http://127.0.0.1:8800")


def test_another_instance_is_told_as_the_first_is(tmp_path, monkeypatch):
    """The first may be on loopback, where it does not matter."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    client = AsyncStatusesClient("1", TOKEN, api_url="http://127.0.0.1:8800")

    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        client.for_instance("2", TOKEN, api_url="https://1101.api.green-api.com")


@pytest.mark.usefixtures("variables")
def test_command_ends_with_2(tmp_path, monkeypatch, capsys):
    """It is the environment that has to change."""
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE", TOKEN)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))

    assert main(["fetch"]) == 2
    assert "SSL_CERT_FILE" in capsys.readouterr().err


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_token_file_is_read_with_or_without_a_byte_order_mark(mark, end, tmp_path, monkeypatch):
    """Notepad writes one, and the API did not know that token."""
    path = tmp_path / "token"
    path.write_bytes(mark + TOKEN.encode() + end)
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", str(path))

    client = AsyncStatusesClient.from_env()

    assert client._instance._token.reveal() == TOKEN


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"\xff\xfe" + TOKEN.encode("utf-16-le"), b"a\xffb"]
)
def test_token_file_without_a_token_is_told_by_its_own_variable(content, tmp_path, monkeypatch):
    """An empty one was told as a token with white space in a variable that nobody had set."""
    path = tmp_path / "token"
    path.write_bytes(content)
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", str(path))

    with pytest.raises(ConfigurationError, match="GREEN_API_TOKEN_INSTANCE_FILE") as caught:
        AsyncStatusesClient.from_env()

    assert "names a file" in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("token", [f"{TOKEN}\udcff", f"{TOKEN}\x00"])
def test_token_that_is_no_text_shows_itself_in_no_traceback(token):
    """A variable may hold bytes that are no UTF-8; spelling them raised an error that holds the token."""
    with pytest.raises(ConfigurationError, match="GREEN_API_TOKEN_INSTANCE") as caught:
        AsyncStatusesClient("1", token)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = shown.partition("greenapi_async/client.py")[2]
    assert TOKEN not in ours
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
