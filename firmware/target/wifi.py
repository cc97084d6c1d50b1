"""A target's station interface. The only importer of `network` here."""

from errno import ENOTCONN

import network

from snyper.shared.clock import now_ms
from snyper.shared.log import log
from snyper.shared.runtime import sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JOIN_TIMEOUT_MS = 15_000  # association, WPA2 handshake and DHCP of a slow access point
_POLL_MS = 100
# The numbers differ between ports, and a Pico W's has no names for them in every version.
_STATUS_UP = getattr(network, "STAT_GOT_IP", 3)
STATUS_WRONG_PASSWORD = getattr(network, "STAT_WRONG_PASSWORD", -3)
_FAILURES = {
    STATUS_WRONG_PASSWORD: "the access point refuses the password",
    getattr(network, "STAT_NO_AP_FOUND", -2): "no access point of that name is in reach",
    getattr(network, "STAT_CONNECT_FAIL", -1): "the radio could not join",
}
_STATUS_NO_IP = 2  # of a Pico W


class JoinError(OSError):
    """The network could not be joined. The message says why; `status` is the radio's word for it."""

    def __init__(self, ssid: str, status: int) -> None:
        why = _FAILURES.get(status) or "not joined in time, status %d" % status
        if status == _STATUS_NO_IP:
            why = "joined, but got no address by DHCP"
        super().__init__(ENOTCONN, "Wi-Fi %s: %s" % (ssid, why))
        self.status = status


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
        wanted = self._networks[self._at]
        self._begin(wanted)
        log("wifi", "joining %s" % wanted["ssid"])
        deadline_ms = now_ms() + JOIN_TIMEOUT_MS
        status = self._wlan.status()
        while status != _STATUS_UP:
            if status in _FAILURES or now_ms() >= deadline_ms:
                self.leave()
                raise JoinError(wanted["ssid"], status)
            await sleep_ms(_POLL_MS)
            status = self._wlan.status()
        log("wifi", "joined %s as %s" % (wanted["ssid"], self._wlan.ifconfig()[0]))

    def leave(self) -> None:
        """Switch the radio off, so that the next `join` starts anew, with the next network."""
        self._at = (self._at + 1) % len(self._networks)
        self._wlan.disconnect()
        self._wlan.active(False)

    def name_server(self) -> str:
        """Return the name server's address, `0.0.0.0` where there is none."""
        server: str = self._wlan.ifconfig()[3]
        return server

    def _begin(self, wanted: "dict[str, str]") -> None:
        self._wlan.active(True)
        self._wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
        if wanted["address"]:
            self._wlan.ifconfig(_static(wanted, self.name_server()))
        elif not self._wlan.ipconfig("dhcp4"):  # a Pico W keeps a fixed address over `active(False)`
            self._wlan.ifconfig(("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0"))
            self._wlan.ipconfig(dhcp4=True)
        self._wlan.connect(wanted["ssid"], wanted["password"])


def _static(wanted: "dict[str, str]", name_server: str) -> "tuple[str, str, str, str]":
    """Return address, mask, gateway and name server, as `WLAN.ifconfig` takes them; it ends DHCP."""
    address, _, bits = wanted["address"].partition("/")
    mask = (0xFFFFFFFF << (32 - int(bits))) & 0xFFFFFFFF
    dotted = "%d.%d.%d.%d" % (mask >> 24, mask >> 16 & 255, mask >> 8 & 255, mask & 255)
    return address, dotted, wanted["gateway"] or "0.0.0.0", wanted["dns"] or name_server
