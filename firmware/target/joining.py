"""Joins a Wi-Fi network, for a target. Loaded for that."""

from errno import ENOTCONN

import network

from snyper.firmware.target.wifi import JOIN_TIMEOUT_MS, JoinError
from snyper.shared.clock import now_ms
from snyper.shared.log import log
from snyper.shared.runtime import sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POLL_MS = 100
# The numbers differ between ports, and a Pico W's has no names for them in every version.
_STATUS_UP = getattr(network, "STAT_GOT_IP", 3)
_STATUS_WRONG_PASSWORD = getattr(network, "STAT_WRONG_PASSWORD", -3)
_FAILURES = {
    _STATUS_WRONG_PASSWORD: "the access point refuses the password",
    getattr(network, "STAT_NO_AP_FOUND", -2): "no access point of that name is in reach",
    getattr(network, "STAT_CONNECT_FAIL", -1): "the radio could not join",
}
_STATUS_NO_IP = 2  # of a Pico W


async def join(wlan: "Any", wanted: "dict[str, str]") -> None:
    """Join the network `wanted`, one of `wifi.networks` of config.json, over the interface `wlan`. May be
    cancelled. Raises JoinError after a failure, or JOIN_TIMEOUT_MS.
    """
    _begin(wlan, wanted)
    log("wifi", "joining %s" % wanted["ssid"])
    deadline_ms = now_ms() + JOIN_TIMEOUT_MS
    status = wlan.status()
    while status != _STATUS_UP:
        if status in _FAILURES or now_ms() >= deadline_ms:
            raise _error(wanted["ssid"], status)
        await sleep_ms(_POLL_MS)
        status = wlan.status()
    log("wifi", "joined %s as %s" % (wanted["ssid"], wlan.ifconfig()[0]))


def _error(ssid: str, status: int) -> JoinError:
    why = _FAILURES.get(status) or "not joined in time, status %d" % status
    if status == _STATUS_NO_IP:
        why = "joined, but got no address by DHCP"
    error = JoinError(ENOTCONN, "Wi-Fi %s: %s" % (ssid, why))
    error.is_refused = status == _STATUS_WRONG_PASSWORD
    return error


def _begin(wlan: "Any", wanted: "dict[str, str]") -> None:
    wlan.active(True)
    wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
    if wanted["address"]:
        wlan.ifconfig(_static(wanted, wlan.ifconfig()[3]))
    elif not wlan.ipconfig("dhcp4"):  # a Pico W keeps a fixed address over `active(False)`
        wlan.ifconfig(("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0"))
        wlan.ipconfig(dhcp4=True)
    wlan.connect(wanted["ssid"], wanted["password"])


def _static(wanted: "dict[str, str]", name_server: str) -> "tuple[str, str, str, str]":
    """Return address, mask, gateway and name server, as `WLAN.ifconfig` takes them; it ends DHCP."""
    address, _, bits = wanted["address"].partition("/")
    mask = (0xFFFFFFFF << (32 - int(bits))) & 0xFFFFFFFF
    dotted = "%d.%d.%d.%d" % (mask >> 24, mask >> 16 & 255, mask >> 8 & 255, mask & 255)
    return address, dotted, wanted["gateway"] or "0.0.0.0", wanted["dns"] or name_server
