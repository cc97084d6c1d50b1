"""Services: what calculates, stores or looks for others. Who may command reaches one by its name."""

from snyper.firmware.master.registry import Peer
from snyper.shared.handshake_server import Role


class Service(Peer):
    """One service. It may ask nothing of the hub but `ping`, and reports nothing yet."""

    role = Role.SERVICE
