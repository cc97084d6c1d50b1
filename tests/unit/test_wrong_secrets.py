"""Wrong secrets are counted by address, and forgotten."""

from snyper.device.addresses import network_of
from snyper.services import wrong_secrets
from snyper.services.wrong_secrets import AT_ONCE, PACE_S, WrongSecrets


def test_so_many_at_once_and_then_one_after_the_other() -> None:
    wrong = WrongSecrets()
    for _ in range(AT_ONCE + 1):
        assert wrong.late_s("a", 100.0) == 0
        wrong.count("a", 100.0)
    assert wrong.late_s("a", 100.0) == PACE_S
    assert wrong.late_s("b", 100.0) == 0
    assert wrong.late_s("a", 100.0 + PACE_S) == 0
    wrong.count("a", 100.0 + PACE_S)
    assert wrong.late_s("a", 100.0 + PACE_S) == PACE_S
    assert wrong.late_s("a", 100.0 + 2 * AT_ONCE * PACE_S) == 0


def test_who_has_been_good_for_longest_is_forgotten() -> None:
    wrong = WrongSecrets()
    for at in range(wrong_secrets.MAX_ADDRESSES + 10):
        wrong.count(str(at), float(at))
    assert len(wrong._due_s) == wrong_secrets.MAX_ADDRESSES
    assert "0" not in wrong._due_s


def test_all_addresses_that_a_computer_may_have_are_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    for address in ("192.0.2.1", "console 3 of the hub"):
        assert network_of(address) == address
