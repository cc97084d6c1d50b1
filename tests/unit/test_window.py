"""The flow control of a stream: how far a sender gets ahead, and that neither end waits for the other."""

from random import Random

import pytest
from hypothesis import given, strategies as st

from snyper.services.window import MAX_BYTES, MAX_ITEMS, Sending, Taking

SIZES = st.lists(st.one_of(st.just(0), st.integers(0, 3 * MAX_BYTES)), max_size=200)


@given(SIZES, st.randoms(use_true_random=False))
def test_all_items_come_and_few_are_under_way(sizes: list[int], random: Random) -> None:
    sending, taking = Sending(), Taking()
    unsent, under_way, taken = list(sizes), list[int](), 0
    while taken < len(sizes):
        may_send = bool(unsent) and sending.is_open
        assert may_send or under_way, "each waits for the other"
        if may_send and (not under_way or random.random() < 0.7):
            sending.sent(unsent[0])
            under_way.append(unsent.pop(0))
        else:
            taken += 1
            if taking.take(under_way.pop(0)):
                sending.taken(taking.count)
        assert len(under_way) <= MAX_ITEMS
        assert sum(under_way[:-1]) < MAX_BYTES


def test_a_count_that_cannot_be_is_refused() -> None:
    sending = Sending()
    for _ in range(3):
        sending.sent(0)
    sending.taken(2)
    for count in (-1, 1, 4):
        with pytest.raises(ValueError, match=str(count)):
            sending.taken(count)
    sending.taken(3)
