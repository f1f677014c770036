"""The proxies from the environment, and which of them applies to an address."""

import sys
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs

from greenapi_async._http.address import is_loopback
from greenapi_async.errors import ConfigurationError

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
_LONGEST = 255  # SOCKS has one byte for the length of a username.


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Proxy:
    """A proxy, and the environment variable that names it.

    Attributes:
        kind: `"http"`, `"socks4"` or `"socks5"`.
        secure: whether the connection to it uses TLS.
    """

    variable: str
    kind: str
    secure: bool
    host: str
    port: int
    username: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Proxies:
    """What the environment says about proxies; only https is proxied, and loopback never."""

    _named: Mapping[str, str] = attrs.field(factory=getproxies)

    def proxy_for(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy that applies to an address.

        Raises:
            ConfigurationError: it cannot be parsed; the message names its variable.
        """
        variable = next((name for name in ("https", "all") if self._named.get(name)), None)
        if variable is None or scheme != "https" or is_loopback(host) or self._is_excepted(f"{host}:{port}"):
            return None

        return _parsed(self._named[variable], f"{variable.upper()}_PROXY")

    def _is_excepted(self, host_and_port: str) -> bool:
        if sys.platform in {"win32", "darwin"}:  # They also look at the system's settings.
            return bool(proxy_bypass(host_and_port))

        return bool(proxy_bypass(host_and_port, self._named))


def _parsed(text: str, variable: str) -> Proxy:
    proxy = _read(text if "://" in text else f"http://{text}", variable)
    if proxy is None:  # The reason is not shown: it may quote the password.
        raise ConfigurationError(
            f"the proxy that {variable} names cannot be used: it must look like http://host:3128, https://host:3129 or "
            "socks5://host:1080, with user:password@ before the host if it requires them, both in ASCII"
        )

    return proxy


def _read(text: str, variable: str) -> Proxy | None:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None

    username, password = unquote(url.username or ""), unquote(url.password or "")
    if (
        not url.hostname
        or url.scheme not in _PORTS
        or not _can_be_sent(username)
        or not _can_be_sent(password)
    ):
        return None

    return Proxy(
        variable=variable,
        kind="http" if url.scheme == "https" else url.scheme.removesuffix("h"),
        secure=url.scheme == "https",
        host=url.hostname,
        port=port or _PORTS[url.scheme],
        username=username,
        password=password,
    )


def _can_be_sent(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= _LONGEST
