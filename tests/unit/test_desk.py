"""The calls of a server, without a socket: which runs, which waits, which answer is kept."""

import contextlib
import itertools

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snyper.services import desk as module
from snyper.services.desk import (
    ANSWER_BYTES,
    KEEP_S,
    MAX_QUEUED,
    MAX_QUEUED_OF_CLIENT,
    MAX_WAITING_BYTES,
    Desk,
    Job,
    Needs,
    Session,
    Station,
)
from snyper.services.remote_exceptions import Busy, ResultGone, WouldDeadlock
from snyper.services.surface import Surface
from snyper.services.wire import MAX_OPEN, Pieces


def read() -> None:
    pass


SURFACE = Surface()
SURFACE.add(read)
MEMBER = SURFACE.find("read")


class Client:
    """One client: its session, and what it was sent."""

    def __init__(self, desk: Desk, name: str = "one") -> None:
        self.desk = desk
        self.got: list[Pieces] = []
        self.session: Session
        self.connect(name)

    def connect(self, name: str) -> bool:
        self.session, is_known = self.desk.open(name, name, self.got.append)
        return is_known

    def call(
        self, seq: int, *stations: Station, chain: tuple[str, ...] = (), shared: bool = False, size: int = 0
    ) -> Job | None:
        """Call; return the job if it runs."""
        assert self.desk.recall(self.session, seq, "read") is False
        job = Job(self.session, seq, MEMBER, (), {}, Needs(stations, shared))
        job.chain, job.size = chain, size
        return job if self.desk.admit(job, 1.0) else None


def ended(desk: Desk, job: Job | None, answer: bytes = b"answer", now_s: float = 1.0) -> list[Job]:
    assert job is not None
    return desk.finish(job, (answer,), now_s)


def test_a_desk_that_ends_begins_what_running_calls_make_alone() -> None:
    desk = Desk()
    one = Client(desk)
    pm, stage = Station("pm"), Station("stage")
    first = one.call(1, pm)
    assert first is not None
    assert one.call(2, pm) is None
    assert [job.seq for job in desk.end("it ends")] == [2]
    assert not desk.is_idle
    for seq in (2, 3):
        with pytest.raises(Busy, match="busy: it ends"):
            one.call(seq, stage)
    within = one.call(4, stage, chain=(first.key,))
    assert ended(desk, within) == []
    assert ended(desk, first) == []
    assert desk.is_idle


def test_a_call_that_was_declined_is_made_anew() -> None:
    desk = Desk()
    one = Client(desk)
    declined = one.call(1)
    assert declined is not None
    declined.is_declined = True
    ended(desk, declined, b"no")
    assert one.got == [(b"no",)]
    ended(desk, one.call(1))
    assert desk.recall(one.session, 1, "read") == (b"answer",)


def test_calls_of_one_instance_have_their_order() -> None:
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    pm, stage = Station("pm"), Station("stage")
    first = one.call(1, pm)
    assert other.call(1, pm) is None
    beside = other.call(2, stage)
    assert beside is not None
    assert one.call(2, pm, stage) is None
    assert one.call(3, stage) is None  # behind one that waits for it
    [second] = ended(desk, first)
    assert second.session is other.session
    assert ended(desk, beside) == []
    [both] = ended(desk, second)
    assert (both.session, both.seq) == (one.session, 2)
    [last] = ended(desk, both)
    assert (last.session, last.seq) == (one.session, 3)


def test_an_answer_is_kept_until_it_was_seen() -> None:
    desk = Desk()
    client = Client(desk)
    ended(desk, client.call(1), b"first")
    assert client.got == [(b"first",)]
    assert desk.recall(client.session, 1, "read") == (b"first",)
    desk.acknowledge(client.session, 1)
    with pytest.raises(ResultGone):
        desk.recall(client.session, 1, "read")


def test_answers_are_forgotten_beside_a_call_that_takes_long() -> None:
    desk = Desk()
    client = Client(desk)
    long = client.call(1, Station("bath"))
    for seq in range(2, 6):
        ended(desk, client.call(seq))
    desk.acknowledge(client.session, 0)
    assert set(client.session.answers) == {2, 3, 4, 5}
    desk.acknowledge(client.session, 4, [1, 3])
    assert set(client.session.answers) == {3, 5}
    assert desk.recall(client.session, 1, "cool") is True
    for seq in (2, 4):
        with pytest.raises(ResultGone):
            desk.recall(client.session, seq, "read")
    ended(desk, long)
    assert set(client.session.answers) == {1, 3, 5}  # it is not had yet
    desk.acknowledge(client.session, 2)  # which was said before, but for that 1 is had now
    assert set(client.session.answers) == {3, 5}
    desk.acknowledge(client.session, 5)
    assert client.session.answers == {}


def test_to_say_of_many_calls_that_they_are_open_costs_little() -> None:
    compared = 0

    class Counted(int):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return int(self) == other

        __hash__ = int.__hash__

    desk = Desk()
    client = Client(desk)
    for first in (1, MAX_OPEN + 1):
        open = [Counted(seq) for seq in range(first, first + MAX_OPEN)]
        desk.acknowledge(client.session, first + MAX_OPEN, open)
    assert compared < 10 * MAX_OPEN


SAID = st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(1, 12))), max_size=8)


@given(SAID)
def test_what_was_said_to_have_come_stays_so_in_whatever_order_it_is_said(
    said: list[tuple[int, set[int]]],
) -> None:
    desk = Desk()
    client = Client(desk)
    had: set[int] = set()
    for seen, open in said:
        desk.acknowledge(client.session, seen, open)
        had |= set(range(1, seen + 1)) - open
        assert {seq for seq in range(1, 14) if client.session.has(seq)} == had


def test_a_call_that_runs_is_not_begun_again() -> None:
    desk = Desk()
    client = Client(desk)
    job = client.call(1, Station("pm"))
    desk.close(client.session)
    assert client.connect("one")
    assert desk.recall(client.session, 1, "read") is True
    ended(desk, job)
    assert client.got == [(b"answer",)]


def test_what_waits_for_a_client_that_went_is_never_begun_and_may_come_again() -> None:
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    pm = Station("pm")
    first = one.call(1, pm)
    assert other.call(1, pm) is None
    urgent = other.call(2)
    desk.close(other.session)
    ended(desk, urgent)
    assert ended(desk, first) == []
    other.connect("other")
    assert other.call(1, pm) is not None
    assert desk.recall(other.session, 2, "read") == (b"answer",)


def test_answers_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_BYTES", 2 * (ANSWER_BYTES + 5))
    desk = Desk()
    client = Client(desk)
    for seq in (1, 2, 3):
        ended(desk, client.call(seq), b"12345", now_s=float(seq))
    with pytest.raises(ResultGone):
        desk.recall(client.session, 1, "read")
    assert desk.recall(client.session, 2, "read") == (b"12345",)
    desk.expire(2.0 + KEEP_S)
    with pytest.raises(ResultGone):
        desk.recall(client.session, 2, "read")
    assert desk.recall(client.session, 3, "read") == (b"12345",)


def test_small_answers_count_with_what_each_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_BYTES", 3 * ANSWER_BYTES)
    desk = Desk()
    clients = [Client(desk, name) for name in ("one", "other")]
    for seq in (1, 2, 3):
        for client in clients:
            ended(desk, client.call(seq), b"", now_s=float(seq))
    assert [len(client.session.answers) for client in clients] == [1, 2]


def test_who_has_most_answers_kept_loses_the_first_of_his(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_BYTES", 10 * ANSWER_BYTES)
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    ended(desk, one.call(1), b"answer", now_s=1.0)
    for seq in range(1, 12):
        ended(desk, other.call(seq), b"", now_s=2.0 + seq)
    ended(desk, other.call(12), b"x" * 11 * ANSWER_BYTES, now_s=20.0)
    assert desk.recall(one.session, 1, "read") == (b"answer",)
    assert not other.session.answers


def test_who_has_just_gone_is_remembered_longer_than_who_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    desk = Desk()
    one = Client(desk)
    desk.close(Client(desk, "other").session)
    desk.close(one.session)
    Client(desk, "another")
    assert one.connect("one")


def test_the_queue_of_an_instance_has_an_end_and_says_who_is_there() -> None:
    desk = Desk()
    client, other = Client(desk), Client(desk, "other")
    pm = Station("the Powermeter")
    client.call(1, pm)
    for seq in range(2, 2 + MAX_QUEUED_OF_CLIENT):
        assert client.call(seq, pm) is None
    runs = r"read\(\) of one, running 0 s"
    with pytest.raises(Busy, match=f"{runs}; 48 calls of yours wait for the Powermeter"):
        client.call(2 + MAX_QUEUED_OF_CLIENT, pm)
    assert client.call(3 + MAX_QUEUED_OF_CLIENT, Station("another")) is not None
    for seq in range(1, 1 + MAX_QUEUED - MAX_QUEUED_OF_CLIENT):
        assert other.call(seq, pm) is None
    with pytest.raises(Busy, match=f"{runs}; 64 calls wait for the Powermeter"):
        other.call(MAX_QUEUED, pm)


def test_arguments_of_calls_that_wait_have_an_end() -> None:
    desk = Desk()
    client = Client(desk)
    pm = Station("pm")
    runs = client.call(1, pm, size=MAX_WAITING_BYTES)
    assert client.call(2, pm, size=MAX_WAITING_BYTES) is None
    with pytest.raises(Busy, match="calls with 1,073,741,824 bytes of arguments wait"):
        client.call(3, pm, size=1)
    assert client.call(4, pm) is None
    [waited] = ended(desk, runs)
    assert client.call(5, pm, size=1) is None
    desk.cancel(client.session, 5)
    assert client.call(6, pm, size=MAX_WAITING_BYTES) is None
    assert [job.seq for job in ended(desk, waited)] == [4]


def test_a_call_from_within_a_call_to_the_same_object_does_not_wait_for_itself() -> None:
    desk = Desk()
    one, inner = Client(desk), Client(desk, "inner")
    pm = Station("pm")
    job = one.call(1, pm)
    assert job is not None
    with pytest.raises(WouldDeadlock):
        inner.call(1, pm, chain=(job.key,))


def test_calls_that_share_an_instance_overlap_each_other_and_no_others() -> None:
    desk = Desk()
    client = Client(desk)
    pm = Station("pm")
    shared = [client.call(seq, pm, shared=True) for seq in (1, 2)]
    assert None not in shared
    assert client.call(3, pm) is None
    assert client.call(4, pm, shared=True) is None  # or the one before it might never have its turn
    assert ended(desk, shared[0]) == []
    [alone] = ended(desk, shared[1])
    assert client.call(5, pm, shared=True) is None
    assert alone.seq == 3
    assert [job.seq for job in ended(desk, alone)] == [4, 5]


def test_calls_that_share_do_not_wait_for_each_other() -> None:
    desk = Desk()
    client = Client(desk)
    pm, stage = Station("pm"), Station("stage")
    assert client.call(1, stage) is not None
    assert client.call(2, pm, stage, shared=True) is None
    assert client.call(3, pm, shared=True) is not None
    assert client.call(4, pm) is None


@pytest.mark.parametrize("by_cancelling", [True, False])
def test_what_has_waited_for_a_call_that_was_given_up_goes_on(by_cancelling: bool) -> None:
    desk = Desk()
    client, other = Client(desk), Client(desk, "other")
    pm, stage = Station("pm"), Station("stage")
    assert client.call(1, pm) is not None
    assert other.call(1, pm, stage) is None
    assert client.call(2, stage) is None
    assert desk.next(1.0) == []
    if by_cancelling:
        desk.cancel(other.session, 1)
    else:
        desk.close(other.session)
    assert [job.seq for job in desk.next(1.0)] == [2]


def test_a_call_from_within_one_does_not_wait_behind_what_waits_for_that() -> None:
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    pm, stage = Station("pm"), Station("stage")
    outer = one.call(1, pm)
    assert outer is not None
    assert other.call(1, pm, stage) is None
    inner = one.call(2, stage, chain=(outer.key,))
    assert inner is not None
    assert ended(desk, inner) == []
    assert [job.session for job in ended(desk, outer)] == [other.session]


def test_two_calls_that_would_wait_for_each_other_are_told() -> None:
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    pm, stage = Station("pm"), Station("stage")
    a, b = one.call(1, pm), other.call(1, stage)
    assert a is not None
    assert b is not None
    assert one.call(2, stage, chain=(a.key,)) is None
    with pytest.raises(WouldDeadlock):
        other.call(2, pm, chain=(b.key,))
    [inner] = ended(desk, b)
    assert (inner.session, inner.seq) == (one.session, 2)


def test_a_shared_call_may_make_a_shared_one_and_no_other() -> None:
    desk = Desk()
    one, other = Client(desk), Client(desk, "other")
    pm = Station("pm")
    outer = one.call(1, pm, shared=True)
    assert outer is not None
    assert other.call(1, pm) is None
    assert one.call(2, pm, chain=(outer.key,), shared=True) is not None
    with pytest.raises(WouldDeadlock):
        one.call(3, pm, chain=(outer.key,))


class AnyCalls(RuleBasedStateMachine):
    """Calls that come, end and are given up in any order, also from within each other."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.client = Client(self.desk)
        self.stations = [Station(name) for name in "abc"]
        self.seq = 0
        self.running: list[Job] = []
        self.waiting: list[Job] = []

    @rule(places=st.sets(st.sampled_from("abc")), shared=st.booleans(), within=st.integers(-3, 3))
    def call(self, places: set[str], shared: bool, within: int) -> None:
        self.seq += 1
        caller = self.running[within] if 0 <= within < len(self.running) else None
        chain = () if caller is None else (*caller.chain, caller.key)
        stations = tuple(station for station in self.stations if station.name in places)
        job = Job(self.client.session, self.seq, MEMBER, (), {}, Needs(stations, shared))
        job.chain = chain
        with contextlib.suppress(WouldDeadlock):
            (self.running if self.desk.admit(job, 1.0) else self.waiting).append(job)

    @precondition(lambda self: any(self.may_end(job) for job in self.running))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """End one that waits for no call of its own."""
        job = data.draw(st.sampled_from([job for job in self.running if self.may_end(job)]))
        self.running.remove(job)
        self.begin(ended(self.desk, job))
        self.desk.acknowledge(self.client.session, self.seq)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(job)
        self.desk.cancel(self.client.session, job.seq)
        self.begin(self.desk.next(1.0))

    def begin(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.waiting.remove(job)
            self.running.append(job)

    def may_end(self, job: Job) -> bool:
        return not any(job.key in other.chain for other in (*self.running, *self.waiting))

    @invariant()
    def no_two_overlap_but_those_that_share(self) -> None:
        for one, other in itertools.combinations(self.running, 2):
            is_apart = set(one.needs.stations).isdisjoint(other.needs.stations)
            assert is_apart or (one.needs.is_shared and other.needs.is_shared)

    @invariant()
    def somebody_gets_on(self) -> None:
        assert not self.waiting or any(self.may_end(job) for job in self.running)

    @invariant()
    def nobody_has_been_forgotten(self) -> None:
        assert self.desk.next(1.0) == []

    def teardown(self) -> None:
        while self.running:
            job = next(job for job in self.running if self.may_end(job))
            self.running.remove(job)
            self.begin(ended(self.desk, job))
        assert self.waiting == []
        assert [(station.jobs, station.queued) for station in self.stations] == [([], 0)] * 3
        assert self.desk._running == set()


TestAnyCalls = AnyCalls.TestCase
TestAnyCalls.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_sessions_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    desk = Desk()
    clients = [Client(desk, name) for name in "abc"]
    assert set(desk.sessions) == set("abc")  # who is connected is not forgotten
    desk.close(clients[1].session)
    Client(desk, "d")
    assert set(desk.sessions) == set("acd")
