"""Waiting before the next attempt."""

from snyper.shared.backoff import Backoff


def test_steps_double_up_to_the_cap() -> None:
    for _ in range(200):  # each delay is drawn at random
        backoff = Backoff(100, 1_500)
        for step_ms in (100, 200, 400, 800, 1_500, 1_500, 1_500):
            assert step_ms // 2 <= backoff.next_ms() <= step_ms


def test_a_cap_of_the_moment() -> None:
    backoff = Backoff(100, 1_500)
    for cap_ms, step_ms in ((6_000, 100), (6_000, 200), (6_000, 400), (6_000, 800), (6_000, 1_600)):
        assert step_ms // 2 <= backoff.next_ms(cap_ms) <= step_ms
    assert 1_600 <= backoff.next_ms(6_000) <= 3_200
    assert 750 <= backoff.next_ms() <= 1_500
    assert 750 <= backoff.next_ms() <= 1_500


def test_a_success_begins_again() -> None:
    backoff = Backoff(100, 10_000)
    for _ in range(5):
        backoff.next_ms()
    backoff.reset()
    assert backoff.next_ms() <= 100
    assert backoff.next_ms() <= 200


def test_two_boards_do_not_come_back_together() -> None:
    assert len({Backoff(10_000, 10_000).next_ms() for _ in range(50)}) > 10


def test_the_whole_upper_half_is_used() -> None:
    assert {Backoff(4, 4).next_ms() for _ in range(500)} == {2, 3, 4}


def test_the_shortest_delay_is_not_zero() -> None:
    assert {Backoff(1, 1).next_ms() for _ in range(20)} == {1}
