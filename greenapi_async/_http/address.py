"""URLs and IP addresses: whether a host is valid, and what kind of address it is. Pure."""

import ipaddress
from contextlib import suppress
from typing import Final, TypeAlias

import httpx

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

WIRE_URL: Final = "greenapi_async.wire_url"
"""The request extension with the URL to send, if the request's own is only for display."""

_LAST_PORT = 65_535
_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
_FAKE = ipaddress.IPv4Network("198.18.0.0/15")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Return whether this is the address of a host on the Internet; false for anything but an address.

    For an IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), the IPv4 address decides.
    """
    address = _address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast

    return address is not None and address.is_global and address in _UNICAST and address not in _DOCUMENTATION


def is_fake(text: str) -> bool:
    """Return whether the address stands for a name: system-wide proxies (Clash, sing-box) make such addresses up.

    They connect to the host whose name resolved to it. No network has hosts in that range: it is for benchmarks.
    """
    address = _address(text)
    return isinstance(address, ipaddress.IPv4Address) and address in _FAKE


def is_address(host: str) -> bool:
    """Return whether a host is an address, not a name to look up."""
    return _address(host) is not None


def is_loopback(host: str) -> bool:
    """Return whether this is the local machine: `localhost`, or a loopback address, also an IPv4-mapped one."""
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
    """Return a URL as a string, given as one or as an object of httpx, yarl or pydantic; else an empty string."""
    return str(url) if isinstance(url, str) or (hasattr(url, "scheme") and hasattr(url, "host")) else ""


def parsed_url(text: str) -> httpx.URL | None:
    """Return the URL, or None if its host or port is missing or invalid."""
    with suppress(httpx.InvalidURL, UnicodeError):  # httpx decodes a host name only when it is read.
        url = httpx.URL(text)
        if url.host and (url.port or 0) <= _LAST_PORT:
            return url

    return None
