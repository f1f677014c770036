"""Which IP addresses a download may come from. Pure."""

import ipaddress
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Tell whether it is the address of a host on the Internet; what is no address is not.

    An IPv4 address in an IPv6 one (mapped, 6to4, NAT64) is judged in its stead.
    """
    address = _address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast

    return address is not None and address.is_global and address in _UNICAST and address not in _DOCUMENTATION


def is_loopback(text: str) -> bool:
    """Tell whether it is an address of this very machine's loopback, an IPv4-mapped one too."""
    address = _address(text)
    return address is not None and address.is_loopback


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
