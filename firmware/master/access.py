"""The decision whom a hub board lets in, and its limits. Unloaded after its start."""

from snyper.firmware.master.server import Access
from snyper.shared.log import keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.firmware.master.server import Hub

PUBLISHED_PASSWORD = "pop-up-targets"  # of the access point, as everybody can read: it lets nobody in


def decide(config: "dict[str, Any]", hub: "Hub") -> None:
    """Give a hub its keys, and decide whether it is enough to be in the board's own Wi-Fi: where its owner
    says so, or has no key and has chosen a password for it.
    """
    hub.keys = "\n".join([config["key"]] + config["keys"]).strip()
    if config["open"]:
        hub.access = Access.OPEN
        keep("hub", "open: whoever is in its Wi-Fi commands every target")
    elif hub.keys:
        hub.access = Access.KEYS
    elif config["access_point"]["password"] == PUBLISHED_PASSWORD:
        hub.access = Access.KEYS
        keep("hub", "lets nobody in: it has no key, and everybody knows its Wi-Fi password. Deploy it anew")


def set_limits(hub: "Hub", limits: "dict[str, int]") -> None:
    """Change the limits of a hub that has not started, those of `config.LIMITS`."""
    for name in limits:
        if getattr(hub, name) != limits[name]:  # else it takes no memory
            setattr(hub, name, limits[name])
    hub.places = hub.unregistered
