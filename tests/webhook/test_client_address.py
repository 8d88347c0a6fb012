"""Where a request came from: an address that no client can make up."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.webhook.client_address import client_address
from aurora_bridge.webhook.delivery import Delivery

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1", "fd00::/8")))
CLIENT = "203.0.113.9"
addresses = st.ip_addresses().map(str)


def delivery(peer: str, *lines: bytes, header: bytes = b"X-Forwarded-For") -> Delivery:
    return Delivery("GET", b"/", [(header, line) for line in lines], 0, 0.0, peer)


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        (CLIENT, [], CLIENT),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9"], CLIENT),
        ("10.0.0.1", [b"198.51.100.1, 203.0.113.9"], CLIENT),  # what the client wrote there itself
        ("10.0.0.1", [b"198.51.100.1, 203.0.113.9, 10.2.3.4 ,192.0.2.1"], CLIENT),
        ("10.0.0.1", [b"198.51.100.1", b"203.0.113.9", b"10.2.3.4"], CLIENT),
        ("10.0.0.1", [b"10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        ("10.0.0.1", [b"203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9, 10.0.0.2, <script>"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"203.0.113.9:51234"], CLIENT),
        ("10.0.0.1", [b"[2001:db8::5]:443"], "2001:db8::5"),
        ("10.0.0.1", [b"2001:DB8:0::5"], "2001:db8::5"),
        ("fd00::1", [b"203.0.113.9, ::ffff:10.0.0.2"], CLIENT),
        ("::ffff:10.0.0.1", [b"203.0.113.9"], CLIENT),
        ("fe80::1%eth0", [], "fe80::1"),
        ("", [b"203.0.113.9"], ""),
    ],
    ids=str,
)
def test_it_is_the_last_address_on_the_way_that_is_no_proxys(peer: str, lines: list[bytes], client: str) -> None:
    assert client_address(delivery(peer, *lines), PROXIES) == client


@pytest.mark.proves("An attacker cannot: hide where it comes from behind a header")
@pytest.mark.parametrize("peer", [CLIENT, "11.0.0.1", "::ffff:11.0.0.1", "2001:db8::1"])
def test_what_a_stranger_says_of_himself_is_not_believed(peer: str) -> None:
    assert client_address(delivery(peer, b"10.0.0.1"), PROXIES) == peer.removeprefix("::ffff:")
    assert client_address(delivery(peer, b"198.51.100.1"), ()) == peer.removeprefix("::ffff:")


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"X-FORWARDED-FOR"])
def test_the_headers_name_has_no_case(header: bytes) -> None:
    assert client_address(delivery("10.0.0.1", b"203.0.113.9", header=header), PROXIES) == CLIENT


@pytest.mark.proves("An attacker cannot: hide where it comes from behind a header")
@pytest.mark.parametrize("header", [b"Forwarded", b"X-Real-IP", b"X-Forwarded_For", b"True-Client-IP"])
def test_headers_that_a_proxy_passes_on_as_the_client_wrote_them_are_not_believed(header: bytes) -> None:
    found = client_address(delivery("10.0.0.1", b"198.51.100.1", b"for=198.51.100.1", header=header), PROXIES)
    assert found == "10.0.0.1"


@pytest.mark.proves("An attacker cannot: hide where it comes from behind a header")
@given(st.lists(st.one_of(addresses, st.text()).map(lambda text: text.encode("utf-8", "replace"))), st.binary())
def test_whatever_a_client_writes_in_front_changes_nothing(written: list[bytes], garbage: bytes) -> None:
    real = delivery("10.0.0.1", b",".join([*written, garbage, b"203.0.113.9", b"10.0.0.2"]))
    assert client_address(real, PROXIES) == CLIENT


@given(st.binary())
def test_whatever_is_in_the_header_it_is_an_address_that_comes_out(line: bytes) -> None:
    ip_address(client_address(delivery("10.0.0.1", line), PROXIES))


def test_a_long_way_is_not_read_to_its_beginning() -> None:
    hops = b"203.0.113.9, " + b", ".join([b"10.0.0.2"] * 1000)
    assert client_address(delivery("10.0.0.1", hops), PROXIES) == "10.0.0.2"
