"""Which internet addresses are public: the rest are nothing that users may have the server call."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# The special-purpose registries of IANA, where `is_global` leaves gaps: it is true of multicast,
# of NAT64 and, in some versions, of 6to4, all of which can lead back into a private network.
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, where clouds keep their machines' credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
        "2001::/23",  # Teredo and others
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
]
_GLOBAL_UNICAST = ip_network("2000::/3")  # mapped, NAT64, local and multicast ones lie outside


def is_public(address: str) -> bool:
    """Whether a numeric address, of either family, is one of the public internet."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed not in _GLOBAL_UNICAST:
        return False
    return parsed.is_global and not any(parsed in network for network in _NOT_PUBLIC)
