"""The leases of a server, without a clock: who has one, until when, and who learns that he has it no more."""

from datetime import UTC, datetime

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snyper.services import leasing as module
from snyper.services.leasing import LOOK_S, Leases
from snyper.services.remote_exceptions import Busy, LeaseLost, Locked


class Clock:
    """Leases whose time is looked at as a server does it."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.now_s = 0.0
        self.leases.expire(0.0)

    def wait(self, seconds: float) -> None:
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            self.now_s = min(self.now_s + LOOK_S, ends_s)
            self.leases.expire(self.now_s)

    def grant(self, id: str, owner: str, *places: str, lease_s: float = 10.0, why: str = "") -> None:
        self.leases.grant(id, owner, f"{owner}@desk", places, places, lease_s, why, self.now_s)

    def check(self, owner: str, *places: str, relied_on: tuple[str, ...] = (), is_open: bool = False) -> None:
        self.leases.check(places, owner, relied_on, self.now_s, is_open)


def test_others_are_told_by_whom_since_when_until_when_and_why() -> None:
    clock = Clock()
    clock.wait(3)
    clock.grant("1", "eve", "pm", why="cooldown")
    clock.wait(2)
    with pytest.raises(Locked) as locked:
        clock.check("bob", "stage", "pm")
    since, until = (datetime.fromtimestamp(at_s, UTC) for at_s in (3, 13))
    assert locked.value.args == ("eve@desk", since, until, "cooldown")
    with pytest.raises(Locked):
        clock.grant("1", "bob", "pm")
    clock.check("bob", "stage")
    clock.check("bob", "pm", is_open=True)
    clock.check("eve", "pm", relied_on=("1",))
    [row] = clock.leases.describe(clock.now_s)
    assert row == {"names": ["pm"], "who": "eve@desk", "since": since, "until": until, "why": "cooldown"}


def test_it_ends_by_itself_and_is_renewed() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm")
    clock.wait(9)
    clock.leases.renew("1", "eve", clock.now_s)
    clock.wait(9.5)
    with pytest.raises(Locked):
        clock.check("bob", "pm")
    clock.wait(0.5)
    clock.check("bob", "pm")
    for use in (clock.leases.renew, clock.leases.release):
        with pytest.raises(LeaseLost, match="not renewed for 10 s"):
            use("1", "eve", clock.now_s)
    with pytest.raises(LeaseLost, match="not renewed"):
        clock.check("eve", "pm", relied_on=("1",))
    clock.check("eve", "stage", relied_on=("1",))  # which is not of it
    assert clock.leases.describe(clock.now_s) == []


def test_who_broke_it_is_said_to_whom_it_was_broken() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm", "stage")
    clock.grant("1", "bob", "laser")
    [broken] = clock.leases.break_all(["pm"], "ann@office", "fire", clock.now_s)
    assert (broken.who, broken.id) == ("eve@desk", "1")
    clock.check("bob", "pm", "laser", relied_on=("1",))
    with pytest.raises(LeaseLost) as lost:
        clock.check("eve", "stage", relied_on=("1",))
    assert lost.value.args == ("ann@office", "fire")
    with pytest.raises(LeaseLost):
        clock.grant("1", "eve", "pm")


def test_what_comes_again_after_a_cut_is_the_same() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm")
    clock.grant("1", "eve", "pm")
    assert len(clock.leases.describe(clock.now_s)) == 1
    for _ in range(2):
        clock.leases.release("1", "eve", clock.now_s)
    clock.check("bob", "pm")


def test_who_was_about_to_call_as_it_was_given_back_has_lost_nothing() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm")
    clock.leases.release("1", "eve", clock.now_s)
    clock.check("eve", "pm", relied_on=("1",))
    clock.grant("2", "bob", "pm")
    with pytest.raises(Locked):
        clock.check("eve", "pm", relied_on=("1",))


def test_one_owner_may_have_two_of_a_place_and_each_counts() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm")
    clock.grant("2", "eve", "pm")
    clock.leases.release("1", "eve", clock.now_s)
    with pytest.raises(Locked):
        clock.check("bob", "pm")
    clock.leases.release("2", "eve", clock.now_s)
    clock.check("bob", "pm")


def test_a_server_that_was_started_anew_knows_no_lease() -> None:
    clock = Clock()
    with pytest.raises(LeaseLost, match="started anew"):
        clock.check("eve", "pm", relied_on=("1",))
    with pytest.raises(LeaseLost, match="started anew"):
        clock.leases.renew("1", "eve", clock.now_s)


def test_a_server_that_did_not_run_blames_nobody() -> None:
    clock = Clock()
    clock.grant("1", "eve", "pm")
    clock.now_s += 60
    clock.check("eve", "pm", relied_on=("1",))
    clock.wait(9.5)
    with pytest.raises(Locked):
        clock.check("bob", "pm")
    clock.wait(1)
    clock.check("bob", "pm")


def test_leases_and_what_is_remembered_of_them_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEASES", 2)
    monkeypatch.setattr(module, "_MAX_OVER", 2)
    clock = Clock()
    clock.grant("1", "eve", "a")
    clock.grant("2", "eve", "b")
    with pytest.raises(Busy):
        clock.grant("3", "eve", "c")
    for id in "123":
        clock.leases.release(id if id != "3" else "2", "eve", clock.now_s)
        clock.grant(f"again {id}", "eve", "a")
        clock.leases.release(f"again {id}", "eve", clock.now_s)
    assert len(clock.leases._over) == 2


def test_one_client_has_not_all_that_there_are() -> None:
    clock = Clock()
    for number in range(module.MAX_OF_OWNER):
        clock.grant(str(number), "eve", "a")
    with pytest.raises(Busy, match="eve@desk has 16 leases"):
        clock.grant("one more", "eve", "a")
    clock.grant("1", "bob", "b")


class Anything(RuleBasedStateMachine):
    """Whatever is done, no place is two owners' at once, and who relies on a lease has it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ids = 0
        self.held: dict[tuple[str, str], tuple[tuple[str, ...], float]] = {}

    owners = st.sampled_from(["eve", "bob", "ann"])
    places = st.lists(st.sampled_from(["pm", "stage", "laser"]), min_size=1, unique=True).map(tuple)

    def live(self) -> "dict[tuple[str, str], tuple[tuple[str, ...], float]]":
        return {key: one for key, one in self.held.items() if one[1] > self.clock.now_s}

    @rule(owner=owners, places=places, lease_s=st.integers(1, 9))
    def grant(self, owner: str, places: tuple[str, ...], lease_s: int) -> None:
        self.ids += 1
        try:
            self.clock.grant(str(self.ids), owner, *places, lease_s=lease_s)
        except (Busy, Locked):
            return
        self.held[owner, str(self.ids)] = places, self.clock.now_s + lease_s

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        owner, id = key = data.draw(st.sampled_from(list(self.held)))
        is_live = key in self.live()
        try:
            self.clock.leases.release(id, owner, self.clock.now_s)
        except LeaseLost:
            assert not is_live
        else:
            assert is_live
        del self.held[key]

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.clock.wait(seconds)

    @rule(places=places)
    def break_all(self, places: tuple[str, ...]) -> None:
        broken = self.clock.leases.break_all(places, "ann", "", self.clock.now_s)
        keys = {(lease.owner, lease.id) for lease in broken}
        assert keys == {key for key, one in self.live().items() if set(one[0]) & set(places)}
        for key in keys:
            del self.held[key]

    @invariant()
    def each_place_is_one_owner_s(self) -> None:
        for place in ("pm", "stage", "laser"):
            having = {owner for (owner, _), one in self.live().items() if place in one[0]}
            assert len(having) <= 1
            for owner in ("eve", "bob", "ann"):
                if having <= {owner}:
                    self.clock.check(owner, place)
                else:
                    with pytest.raises(Locked):
                        self.clock.check(owner, place)


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
