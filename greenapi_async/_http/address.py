"""URLs and IP addresses: whether there can be such a host, and what kind of address it is. Pure."""

import ipaddress
from contextlib import suppress
from typing import Final, TypeAlias

import httpx

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

WIRE_URL: Final = "greenapi_async.wire_url"
"""The extension of a request that holds the URL to send, where the request's own is for show."""

_LAST_PORT = 65_535
_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
_FAKE = ipaddress.IPv4Network("198.18.0.0/15")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Tell whether it is the address of a host on the Internet; what is no address is not.

    An IPv4 address in an IPv6 one (mapped, 6to4, NAT64) is judged in its stead.
    """
    address = _address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast

    return address is not None and address.is_global and address in _UNICAST and address not in _DOCUMENTATION


def is_fake(text: str) -> bool:
    """Return whether it stands for a name: proxies that take all of a machine's traffic (Clash, sing-box) make it up.

    They connect to the host whose name led there. No network has hosts of its own there: it is for benchmarks.
    """
    address = _address(text)
    return isinstance(address, ipaddress.IPv4Address) and address in _FAKE


def is_address(host: str) -> bool:
    """Return whether a host is an address, and no name to look up."""
    return _address(host) is not None


def is_loopback(host: str) -> bool:
    """Return whether it is this very machine: `localhost`, or an address of its loopback, an IPv4-mapped one too."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None

    return _embedded(address) or address if isinstance(address, ipaddress.IPv6Address) else address


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)

    return address.ipv4_mapped or address.sixtofour


def url_text(url: object) -> str:
    """Return the text of a URL, given as one or as an object of httpx, yarl or pydantic; else an empty one."""
    return str(url) if isinstance(url, str) or (hasattr(url, "scheme") and hasattr(url, "host")) else ""


def parsed_url(text: str) -> httpx.URL | None:
    """Return the URL, or None where it names no host or no port that there can be."""
    with suppress(httpx.InvalidURL, UnicodeError):  # httpx decodes a host name only when it is read.
        url = httpx.URL(text)
        if url.host and (url.port or 0) <= _LAST_PORT:
            return url

    return None
