"""The calls and leases of a server, written into its log."""

import time

from snyper.services.desk import Job, Needs
from snyper.services.leasing import Lease
from snyper.services.remote_exceptions import CallError
from snyper.services.server_log import CallLog
from snyper.services.shown import Shown, cut
from snyper.services.surface import GETTER, Member
from snyper.services.wire import RETURNED

_MAX_OUTCOME = 300  # characters


class Recording:
    """Records in a CallLog each call but readings: those of properties, those that stay open while somebody
    has a lease, and those for who watches.
    """

    def __init__(self, log: CallLog) -> None:
        self._log = log

    def shown(self, member: Member, needs: Needs) -> Shown | None:
        """Return how the log shows the arguments of a member's calls; None where those are readings."""
        return None if member.kind == GETTER or needs.is_open else Shown(member)

    def end(self, job: Job, now_s: float) -> None:
        """Record a call that has ended, if it is to be."""
        if job.shown is None:
            return
        outcome, began_s = job.outcome, job.began_s
        if outcome is not RETURNED:
            outcome = cut(job.shown.without_secrets(outcome, job.args, job.kwargs), _MAX_OUTCOME)
        if job.is_cancelled:
            outcome = f"cancelled, {outcome}" if began_s else "cancelled"
        seconds = now_s - began_s if began_s else 0.0
        self._log.add(job.session.who, job.member.name, job.note, seconds, outcome)

    def refuse(self, job: Job, error: CallError) -> None:
        """Record a call that is not begun."""
        job.outcome = f"refused {type(error).__name__}: {error}"
        self.end(job, 0.0)

    def record_lease(self, lease: Lease, what: str) -> None:
        """Record what has become of a lease."""
        seconds = time.monotonic() - lease.since_s
        self._log.add(lease.who, "lock", cut(", ".join(lease.names), _MAX_OUTCOME), seconds, what)
