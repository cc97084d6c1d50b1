"""The requests of clients about leases, answered."""

import time
from collections.abc import Callable, Iterable

from snyper.services.desk import Desk, Job, Session
from snyper.services.leasing import LOOK_S, MAX_LEASE_S, MAX_WHY_CHARS, MIN_LEASE_S
from snyper.services.recording import Recording
from snyper.services.stations import Stations
from snyper.services.wire import LEASES, RENEW, UNLOCK, refusal, word, words
from snyper.shared.socket_protocol import integer_field
from snyper.system.text import one_line


class LeaseRequests:
    """The leases at a Desk, as its clients ask for them. `run` runs calls whose turn it is, `call_at` calls
    what is due at an instant.
    """

    def __init__(
        self,
        desk: Desk,
        stations: Stations,
        recording: Recording,
        run: Callable[[Iterable[Job]], None],
        call_at: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self._desk = desk
        self._stations = stations
        self._recording = recording
        self._run = run
        self._call_at = call_at
        self._is_looking = False

    def answer(self, session: Session, message_type: str, data: dict[str, object]) -> object:
        """Answer `lock`, `renew`, `unlock` or `leases`. Raises ProtocolError, CallError."""
        leases, now_s = self._desk.leases, time.monotonic()
        if message_type == LEASES:
            return leases.describe(now_s)
        names = words(data, "names")
        why = one_line(word(data, "why", MAX_WHY_CHARS)) if data.get("why") else ""
        if message_type == UNLOCK and "lease" not in data:
            stations = self._stations.named(names)
            return [one.who for one in leases.break_all(stations, session.who, why, now_s)]
        lease = word(data, "lease")
        if message_type == UNLOCK:
            leases.release(lease, session.id, now_s)
        elif message_type == RENEW:
            leases.renew(lease, session.id, now_s)
        else:
            limits = int(MIN_LEASE_S * 1000), int(MAX_LEASE_S * 1000)
            lease_s = integer_field(data, "lease_ms", 60_000, *limits) / 1000
            self._grant(session, lease, names, lease_s, why, now_s)
        return None

    def _grant(
        self, session: Session, lease: str, names: tuple[str, ...], lease_s: float, why: str, now_s: float
    ) -> None:
        stations = self._stations.named(names)
        for job, error in self._desk.lock(session, lease, stations, names, lease_s, why, now_s):
            self._recording.refuse(job, error)
            if job.session.send is not None:
                job.session.send(refusal(job.seq, error))
        self._run(self._desk.next(now_s))
        if not self._is_looking:
            self._is_looking = True
            self._look()

    def _look(self) -> None:
        """End what is over, for as long as there are leases."""
        now_s, leases = time.monotonic(), self._desk.leases
        leases.expire(now_s)
        self._is_looking = bool(leases.given)
        if self._is_looking:
            self._call_at(now_s + LOOK_S, self._look)
