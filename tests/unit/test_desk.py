"""The calls of a server, without a socket: which runs, which waits, which answer is kept."""

import pytest

from snyper.services import desk as module
from snyper.services.desk import KEEP_S, MAX_QUEUED, Desk, Job, Session, Station
from snyper.services.remote_exceptions import Busy, ResultGone, WouldDeadlock
from snyper.services.surface import Surface
from snyper.services.wire import Pieces


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

    def call(self, seq: int, *stations: Station, chain: tuple[str, ...] = ()) -> Job | None:
        """Call; return the job if it runs."""
        assert self.desk.recall(self.session, seq, "read") is False
        job = Job(self.session, seq, MEMBER, (), {}, stations, chain)
        return job if self.desk.admit(job, 1.0) else None


def ended(desk: Desk, job: Job | None, answer: bytes = b"answer", now_s: float = 1.0) -> list[Job]:
    assert job is not None
    return desk.finish(job, (answer,), now_s)


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
    monkeypatch.setattr(module, "KEEP_BYTES", 10)
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


def test_the_queue_of_an_instance_has_an_end_and_says_who_is_there() -> None:
    desk = Desk()
    client = Client(desk)
    pm = Station("the Powermeter")
    client.call(1, pm)
    for seq in range(2, 2 + MAX_QUEUED):
        assert client.call(seq, pm) is None
    with pytest.raises(Busy, match=r"read\(\) of one, running 0 s; 64 calls wait for the Powermeter"):
        client.call(2 + MAX_QUEUED, pm)


def test_a_call_from_within_a_call_to_the_same_object_does_not_wait_for_itself() -> None:
    desk = Desk()
    one, inner = Client(desk), Client(desk, "inner")
    pm = Station("pm")
    job = one.call(1, pm)
    assert job is not None
    with pytest.raises(WouldDeadlock):
        inner.call(1, pm, chain=(job.key,))


def test_sessions_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    desk = Desk()
    clients = [Client(desk, name) for name in "abc"]
    assert set(desk.sessions) == set("abc")  # who is connected is not forgotten
    desk.close(clients[1].session)
    Client(desk, "d")
    assert set(desk.sessions) == set("acd")
