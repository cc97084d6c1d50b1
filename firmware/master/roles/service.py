"""Services: what calculates, stores or looks for others. Who may command reaches one by its name, and a
device too where the service says so.
"""

from snyper.firmware.master.registry import Peer
from snyper.shared.handshake_server import Role
from snyper.shared.log import log
from snyper.shared.socket_protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.handshake_server import Registration
    from snyper.shared.link import Link


class Service(Peer):
    """One service. It may ask nothing of the hub itself but `ping`, and reports nothing yet."""

    role = Role.SERVICE
    firmware = ""  # what it serves, for people

    def register(self, registration: "Registration", link: "Link") -> None:
        super().register(registration, link)
        self.firmware = registration.firmware
        self.devices = registration.devices

    def on_registered(self) -> None:
        """Count that it is here, new or back: by a word of its own, since it is no target."""
        log("hub", "%s is here" % self.target_id)
        self.hub.router.events.add("service_here", self.target_id, {"firmware": self.firmware})

    def on_lost(self, why: ProtocolError, reason: str) -> None:
        """Count that its link has ended; `reason` is one of CloseReason."""
        data = {"reason": reason, "code": why.code, "message": why.message}
        self.hub.router.events.add("service_lost", self.target_id, data)
