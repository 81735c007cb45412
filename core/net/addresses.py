"""Which addresses belong to the public internet, by the IANA special-purpose address registries of 2026.

The table is our own, because that of Python's `ipaddress` changes with its version.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_SPECIAL_IPV4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers, and the metadata service of Alibaba Cloud
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, and most metadata services
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments, and the metadata service of Oracle Cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "168.63.129.16/32",  # the metadata service of Azure, which has a public address
        ),
    )
)
_GLOBAL_UNICAST_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID and others
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, deprecated
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_TRANSLATED_IPV4: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64: packets to such an address reach the IPv4 address in its last 32 bits."""


def canonical_host(host: str) -> str:
    """Return a host in the one spelling that hosts are compared in: lower case, an IPv6 address short, no brackets."""
    name = host.strip().lower().rstrip(".").removeprefix("[").removesuffix("]").replace("%25", "%")
    address, separator, zone = name.partition("%")
    try:
        return f"{ipaddress.ip_address(address)}{separator}{zone}"
    except ValueError:
        return name


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, with or without a zone."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Return whether text is a global unicast address; of an IPv4 address embedded in IPv6, whether that is."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _TRANSLATED_IPV4:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        else:
            return address in _GLOBAL_UNICAST_IPV6 and not any(address in network for network in _SPECIAL_IPV6)
    return not any(address in network for network in _SPECIAL_IPV4)
