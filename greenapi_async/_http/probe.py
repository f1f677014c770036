"""The way to a host, step by step and without a request: its addresses, a connection, its certificate."""

import ssl
from collections.abc import Sequence
from typing import Literal, TypeAlias

import anyio
import attrs
from anyio.streams.tls import TLSAttribute, TLSStream

from greenapi_async._http.failures import printable
from greenapi_async._http.transport import ssl_context

_PROBLEMS = {9: "early", 10: "expired", 62: "name", 64: "name"}  # OpenSSL's codes.
_CLOSED = (OSError, anyio.BrokenResourceError, anyio.EndOfStream)

TlsProblem: TypeAlias = Literal["early", "expired", "name", "untrusted", "no tls"]


@attrs.frozen(kw_only=True)
class Certificate:
    """The outcome of TLS to a host.

    Attributes:
        ends: until when the certificate is valid (UNIX seconds), if it was accepted.
        problem: what is wrong, or None.
        detail: what OpenSSL says about it.
    """

    ends: float | None = None
    problem: TlsProblem | None = None
    detail: str = ""


async def addresses(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host.

    Raises:
        OSError: it has none, or they could not be found out.
    """
    found = await anyio.getaddrinfo(host, port)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def connect(host: str, port: int) -> None:
    """Connect over TCP, and disconnect.

    Raises:
        OSError: nothing accepts.
    """
    await (await anyio.connect_tcp(host, port)).aclose()


async def certificate(host: str, port: int) -> Certificate:
    """Return the outcome of TLS to a host, with the certificates that every request trusts.

    Raises:
        OSError: nothing accepts.
        ConfigurationError: TLS cannot be set up here.
    """
    context = ssl_context()
    stream = await anyio.connect_tcp(host, port)
    try:
        secured = await TLSStream.wrap(
            stream, ssl_context=context, hostname=host, server_side=False, standard_compatible=False
        )
        accepted = secured.extra(TLSAttribute.peer_certificate) or {}  # noqa: S610 - anyio's `extra`, not Django's.
        return Certificate(ends=float(ssl.cert_time_to_seconds(str(accepted["notAfter"]))))
    except ssl.SSLCertVerificationError as error:
        return Certificate(
            problem=_PROBLEMS.get(error.verify_code, "untrusted"),  # type: ignore[arg-type]
            detail=printable(error.verify_message),
        )
    except _CLOSED as error:
        return Certificate(problem="no tls", detail=printable(str(error)))
    finally:
        await anyio.aclose_forcefully(stream)
