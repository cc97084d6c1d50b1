"""A target's station interface. Beside `joining`, the only importer of `network` here."""

import network

from snyper.shared.runtime import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JOIN_TIMEOUT_MS = 15_000  # association, WPA2 handshake and DHCP of a slow access point


class JoinError(OSError):
    """The network could not be joined. The last of `args` says why; `is_refused` that it is the password."""

    is_refused = False


class Wifi:
    """The station interface. `config` is `wifi` of config.json; `hostname` is used where it names none."""

    def __init__(self, config: "dict[str, Any]", hostname: str) -> None:
        self._networks = config["networks"]
        self._at = 0
        if config["country"]:
            network.country(config["country"])
        network.hostname(config["hostname"] or hostname)
        self._wlan = network.WLAN(network.STA_IF)

    def is_joined(self) -> bool:
        """Tell whether the radio says that it is in a network."""
        return bool(self._wlan.isconnected())

    async def join(self) -> None:
        """Join one network: the one that was joined last, after a failure the next in order.

        May be cancelled. Raises JoinError after a failure, or JOIN_TIMEOUT_MS.
        """
        from snyper.firmware.target.joining import join  # for a moment, and not while the hub is there

        try:
            await join(self._wlan, self._networks[self._at])
        except JoinError:
            self.leave()
            raise
        finally:
            unload("snyper.firmware.target.joining")

    def leave(self) -> None:
        """Switch the radio off, so that the next `join` starts anew, with the next network."""
        self._at = (self._at + 1) % len(self._networks)
        self._wlan.disconnect()
        self._wlan.active(False)

    def name_server(self) -> str:
        """Return the name server's address, `0.0.0.0` where there is none."""
        server: str = self._wlan.ifconfig()[3]
        return server
