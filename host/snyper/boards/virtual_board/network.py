"""A Pico W's `network` module for a computer: the station and the access point of its CYW43 chip.

Read off MicroPython's extmod/network_cyw43.c and the chip's driver (cyw43_ctrl.c, cyw43_lwip.c). What is
around the board is its `VirtualBoard.air()`. Only the association is modelled:
the sockets are the computer's own and still carry data when the board has lost its network.
"""

import time

import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STA_IF = 0
AP_IF = 1

STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_GOT_IP = 3
STAT_CONNECT_FAIL = -1
STAT_NO_AP_FOUND = -2
STAT_WRONG_PASSWORD = -3

ASSOCIATE_MS = 100  # seconds on the air, but the order of things is the same
DHCP_MS = 50
MAX_HOSTNAME_CHARS = 32
MIN_KEY_CHARS = 8  # of WPA2: IEEE 802.11

_NO_IP = 2
_EPERM = 1
_AP_CONFIG = {"ssid": "ssid", "essid": "ssid", "key": "key", "password": "key"}  # old names and new ones
_AP_CONFIG.update({"channel": "channel", "security": "security"})
_CONFIG = ("antenna", "monitor", "pm", "trace", "txpower")
_READABLE = ("antenna", "channel", "essid", "pm", "security", "ssid", "txpower")


class _Interface:
    """The state that every `WLAN` object of one interface of one board shares."""

    def __init__(self, board: "machine.VirtualBoard") -> None:
        self.board = board
        self.active = False
        self.is_static = False
        self.address = "0.0.0.0"
        self.mask = "255.255.255.0"
        self.gateway = "192.168.4.1"
        self.name_server = "8.8.8.8"
        self.config: dict[str, object] = {
            "antenna": 0,
            "channel": 3,
            "ssid": "",
            "key": "",
            "pm": WLAN.PM_PERFORMANCE,
            "security": 4194308,
            "txpower": 31,
        }

    def set_active(self, active: bool) -> None:
        self.active = active

    def status(self) -> int:
        raise NotImplementedError


class _Station(_Interface):
    """The side that joins. The driver's join state, driven by what is on the air whenever it is asked."""

    def __init__(self, board: "machine.VirtualBoard") -> None:
        super().__init__(board)
        self._status = STAT_IDLE
        self._key = ""
        self._joined_ns: int | None = None  # when the association began; None when none is under way

    def set_active(self, active: bool) -> None:
        if not active:
            self.leave()  # its address stays, if it is fixed: the driver does no more than that
        elif not self.active:
            self.board.wifi["activations"] += 1
        super().set_active(active)
        self.board.changed()

    def join(self, ssid: str, key: str) -> None:
        if not self.active:
            raise OSError(_EPERM)
        self.config["ssid"] = ssid
        self._key = key
        self._status = STAT_CONNECTING
        self._joined_ns = time.time_ns()
        self.board.wifi["ssid"] = ssid
        self.board.changed()

    def leave(self) -> None:
        self._status = STAT_IDLE
        self._joined_ns = None

    def status(self) -> int:
        air = self.board.air()
        password = self._password_wanted(air)
        in_reach = air["up"] and password is not None
        if self._joined_ns is not None:
            self._associate(time.time_ns() - self._joined_ns, password if in_reach else None, air["dhcp"])
        elif self._status == STAT_GOT_IP and not in_reach and not air["lies"]:
            # The driver keeps its join state when the link goes, so that it says `joining` from now on;
            # whether the chip finds back by itself depends on how the access point went.
            self._status = STAT_CONNECTING
        elif self._status == STAT_CONNECTING and in_reach and air["rejoins"]:
            self._joined_ns = time.time_ns()
        return self._status

    def _password_wanted(self, air: "dict[str, Any]") -> "str | None":
        """Return what the access point of that name asks for; None where there is none."""
        for point in _access_points(air):
            if point["ssid"] == self.config["ssid"]:
                return point["password"]  # type: ignore[no-any-return]
        return None if _access_points(air) else self._key

    def _associate(self, elapsed_ns: int, password: "str | None", dhcp: bool) -> None:
        if elapsed_ns < self.board.world_ns(ASSOCIATE_MS):
            return
        if password is None:
            self._end_join(STAT_NO_AP_FOUND)
        elif password != self._key:
            self._end_join(STAT_WRONG_PASSWORD)
        elif elapsed_ns < self.board.world_ns(ASSOCIATE_MS + DHCP_MS) or not (dhcp or self.is_static):
            self._status = _NO_IP
        else:
            if not self.is_static:
                self.address = f"192.168.4.{16 + self.board.unique_id[-1] % 200}"
            self._end_join(STAT_GOT_IP)
            self.board.wifi["joins"] += 1
            self.board.changed()

    def _end_join(self, status: int) -> None:
        self._status = status
        self._joined_ns = None


def _access_points(air: "dict[str, Any]") -> "list[dict[str, Any]]":
    return air.get("networks", [air])  # type: ignore[no-any-return]


class _AccessPoint(_Interface):
    """The side that others join. With a key that is too short for WPA2 it never comes up."""

    def __init__(self, board: "machine.VirtualBoard") -> None:
        super().__init__(board)
        self.address = "192.168.4.1"
        self.config["ssid"] = "PICO" + "".join(f"{byte:02X}" for byte in board.unique_id[-2:])
        self.config["key"] = "picoW123"

    def status(self) -> int:
        is_secure = self.config["security"] != WLAN.SEC_OPEN
        if not self.active or (is_secure and len(str(self.config["key"])) < MIN_KEY_CHARS):
            return STAT_IDLE
        return STAT_GOT_IP


class WLAN:
    """`network.WLAN`: the chip's station (STA_IF) or access point (AP_IF)."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    SEC_OPEN = 0
    SEC_WPA_WPA2 = 4194310
    SEC_WPA3 = 16777220
    SEC_WPA2_WPA3 = 20971524
    PM_NONE = 16
    PM_POWERSAVE = 17
    PM_PERFORMANCE = 10555714

    def __init__(self, interface_id: int = STA_IF) -> None:
        self._id = STA_IF if interface_id == STA_IF else AP_IF
        self._interface = _interface(machine.current(), self._id)

    def active(self, is_active: "object | None" = None) -> "bool | None":
        """Return whether the interface is on; with an argument switches it. A station then leaves its
        network.
        """
        if is_active is None:
            return self._interface.active  # type: ignore[no-any-return]
        self._interface.set_active(bool(is_active))
        return None

    def connect(
        self,
        ssid: "str | bytes",
        key: "str | bytes | None" = None,
        *,
        security: int = -1,
        bssid: "bytes | None" = None,
        channel: int = -1,
    ) -> None:
        """Begin to join; `status()` tells how it goes. Raises OSError EPERM while the interface is off."""
        self._interface.join(_text(ssid), _text(key or ""))

    def disconnect(self) -> None:
        """Leave the network."""
        if self._id == STA_IF:
            self._interface.leave()

    def isconnected(self) -> bool:
        """Return whether a station is up; whether an access point has a station, which here it never has."""
        return self._id == STA_IF and self.status() == STAT_GOT_IP

    def status(self, param: "str | None" = None) -> "int | list[tuple[bytes]]":
        """Return 0 down, 1 joining, 2 no address yet, 3 up, -1 failed, -2 no such network, -3 wrong password.

        With `rssi` (station) the signal in dBm, with `stations` (access point) who is here; ValueError for
        another one.
        """
        if param is None:
            return self._interface.status()  # type: ignore[no-any-return]
        if param == "rssi":
            if self._id != STA_IF:
                raise ValueError("STA required")
            return -50 if self.isconnected() else 0
        if param == "stations":
            if self._id != AP_IF:
                raise ValueError("AP required")
            return []
        raise ValueError("unknown status param")

    def ifconfig(
        self, addresses: "tuple[str, str, str, str] | None" = None
    ) -> "tuple[str, str, str, str] | None":
        """Return address, mask, gateway and name server; with an argument sets them, and a station then asks
        for none by DHCP.
        """
        interface = self._interface
        if addresses is not None:
            interface.address, interface.mask, interface.gateway, interface.name_server = addresses
            interface.is_static = True
            return None
        return (self._address(), interface.mask, interface.gateway, interface.name_server)

    def ipconfig(self, param: "str | None" = None, **settings: object) -> object:
        """Return `addr4`, `gw4`, `dhcp4` or `has_dhcp4`; all but the last can be set. Raises ValueError."""
        if param == "addr4":
            return (self._address(), self._interface.mask)
        if param == "gw4":
            return self._interface.gateway
        if param == "dhcp4":
            return self._id == STA_IF and not self._interface.is_static
        if param == "has_dhcp4":
            return self.isconnected() and not self._interface.is_static
        if param is not None:
            raise ValueError("unexpected key")
        for name, value in settings.items():
            if name == "addr4":
                self._interface.address = str(value).split("/")[0]
                self._interface.is_static = True
            elif name == "gw4":
                self._interface.gateway = value
            elif name == "dhcp4":
                self._interface.is_static = not value
            else:
                raise ValueError("unexpected key")
        return None

    def _address(self) -> str:
        is_up = self._id == AP_IF or self.isconnected()
        return self._interface.address if is_up else "0.0.0.0"

    def config(self, *names: str, **settings: object) -> object:
        """Return one setting's value by its name; with keyword arguments sets them. Raises ValueError,
        TypeError.
        """
        if settings:
            if names:
                raise TypeError("can't specify pos and kw args")
            for name, value in settings.items():
                self._set_config(name, value)
            return None
        if len(names) != 1:
            raise TypeError("must query one param")
        name = names[0]
        if name == "mac":
            return b"\x28\xcd\xc1" + self._interface.board.unique_id[-3:]
        if name == "hostname":
            return self._interface.board.hostname
        if name not in _READABLE:
            raise ValueError("unknown config param")
        return self._interface.config[_AP_CONFIG.get(name, name)]

    def _set_config(self, name: str, value: object) -> None:
        if name == "hostname":
            _set_hostname(self._interface.board, value)
        elif name in _AP_CONFIG:
            # These are the access point's, whichever interface they are set on.
            _interface(self._interface.board, AP_IF).config[_AP_CONFIG[name]] = value
        elif name in _CONFIG:
            self._interface.config[name] = value
            if name == "pm" and self._id == STA_IF:
                self._interface.board.wifi["pm"] = value
        else:
            raise ValueError("unknown config param")

    def scan(self) -> "list[tuple[bytes, bytes, int, int, int, int]]":
        """List the access points in reach. Raises OSError EPERM while the interface is off."""
        if not self._interface.active:
            raise OSError(_EPERM)
        air = self._interface.board.air()
        if not air["up"]:
            return []
        bssid = b"\x28\xcd\xc1\x00\x00\x01"
        return [(point["ssid"].encode(), bssid, 3, -50, 5, 1) for point in _access_points(air)]

    def deinit(self) -> None:
        """Switch the chip off."""
        self._interface.set_active(False)


def _interface(board: "machine.VirtualBoard", id: int):  # type: ignore[no-untyped-def]
    if id not in board.interfaces:
        board.interfaces[id] = _Station(board) if id == STA_IF else _AccessPoint(board)
    return board.interfaces[id]


def hostname(name: "str | None" = None) -> "str | None":
    """Return the name that the board announces; with an argument sets it. ValueError beyond 32 characters."""
    board = machine.current()
    if name is None:
        return board.hostname  # type: ignore[no-any-return]
    _set_hostname(board, name)
    return None


def country(code: "str | None" = None) -> "str | None":
    """Return the two letters of the regulatory domain; with an argument sets them. ValueError for another
    length.
    """
    board = machine.current()
    if code is None:
        return board.country  # type: ignore[no-any-return]
    if len(code) != 2:
        raise ValueError
    board.country = code
    return None


def _set_hostname(board: "machine.VirtualBoard", name: object) -> None:
    if len(str(name)) > MAX_HOSTNAME_CHARS:
        raise ValueError
    board.hostname = name


def _text(value: "str | bytes") -> str:
    return value if isinstance(value, str) else value.decode()
