"""Which address a request came from, even behind proxies: for people to read, never to decide who may deliver.

Only `X-Forwarded-For` is read. A proxy appends to the header that it knows and passes others on as the client wrote
them: whoever reads several believes the client.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aurora_bridge.webhook.delivery import Delivery

Networks = Sequence[IPv4Network | IPv6Network]
_FORWARDED_FOR = b"x-forwarded-for"
_MOST_HOPS = 32


def client_address(delivery: Delivery, trusted: Networks) -> str:
    """Return the last address on the request's path that is not a proxy in the `trusted` networks.

    Each proxy appends the address that it was reached from, so what stands left of an untrusted address is only that
    client's claim. If all are trusted, it is the first; if a proxy appended no address, it is that proxy's own.
    """
    client = _address(delivery.peer)
    if client is None:
        return delivery.peer
    if _is_trusted(client, trusted):
        lines = [value for name, value in delivery.headers if name.lower() == _FORWARDED_FOR]
        for hop in reversed(b",".join(lines).rsplit(b",", _MOST_HOPS)):
            before = _address(hop.decode("latin-1"))
            if before is None:
                break
            client = before
            if not _is_trusted(client, trusted):
                break
    return str(client)


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Whether the other end of a connection is a proxy in the `trusted` networks."""
    address = _address(peer)
    return address is not None and _is_trusted(address, trusted)


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`, None for anything else.

    An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) is returned as IPv4; a zone is dropped.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
