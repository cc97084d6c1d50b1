"""An address that is printed can be dialled."""

import pytest

from snyper.client.addresses import dial_address, dial_host, is_loopback


@pytest.mark.parametrize(
    ("listens", "dialled"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("0:0::0", "::1"),
        ("127.0.0.2", "127.0.0.2"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("hub.local", "hub.local"),
    ],
)
def test_where_a_listener_is_reached(listens: str, dialled: str) -> None:
    assert dial_host(listens) == dialled


def test_an_address_is_dialled_where_its_listener_is_reached() -> None:
    assert dial_address(":9000") == ("127.0.0.1", 9000)
    assert dial_address("[::]:9000") == ("::1", 9000)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.2", True), ("::1", True), ("", False), ("::", False), ("hub", False)],
)
def test_what_only_this_computer_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
