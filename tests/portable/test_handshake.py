"""The handshake by both sides: `register` and `registered`."""

from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.handshake_server import Registration
from snyper.shared.socket_protocol import MAX_GROUPS, MIN_LINE_BYTES, ErrorCode, SocketMessage
from tests.portable.support import raises


def _register(target_id: "str | None" = "t_1", **data: object) -> SocketMessage:
    return SocketMessage("register", "r", target_id, data=data)


def _register_with(name: str, value: object) -> SocketMessage:
    return SocketMessage("register", "r", "t_1", data={name: value})


def _refuse_each(name: str, values: "list[object]") -> None:
    for value in values:
        raises(ErrorCode.BAD_MESSAGE, Registration, _register_with(name, value))


def test_what_is_left_out_has_its_default() -> None:
    for message in (_register(), SocketMessage("register", "r", "t_1")):
        registration = Registration(message)
        assert registration.target_id == "t_1"
        assert registration.role == "target"
        assert registration.hardware_id == ""
        assert registration.boot_id == ""
        assert registration.firmware == ""
        assert registration.state == ""
        assert registration.groups == []
        assert registration.heartbeat_ms == 600
        assert registration.max_line_bytes == 4096
        assert registration.max_chunk_bytes == 0  # old peers never get any


def test_what_is_said_is_kept() -> None:
    registration = Registration(
        _register(
            role="target",
            hardware_id="e66",
            boot_id="b",
            firmware="0.1.0",
            state="down",
            groups=["left", "a.b"],
            protocol=1,
            heartbeat_ms=250,
            max_line_bytes=MIN_LINE_BYTES,
            later={"unknown": "field"},
        )
    )
    assert registration.hardware_id == "e66"
    assert registration.boot_id == "b"
    assert registration.firmware == "0.1.0"
    assert registration.state == "down"
    assert registration.groups == ["left", "a.b"]
    assert registration.heartbeat_ms == 250
    assert registration.max_line_bytes == MIN_LINE_BYTES


def test_a_console_needs_no_name() -> None:
    assert Registration(_register(None, role="console")).role == "console"
    assert Registration(_register(None, role="service")).role == "service"


def test_another_protocol_is_unsupported() -> None:
    raises(ErrorCode.UNSUPPORTED, Registration, _register(protocol=2))


def test_each_field_has_its_type_and_limits() -> None:
    for name in ("role", "hardware_id", "boot_id", "firmware", "state"):
        _refuse_each(name, [None, 1, True, ["x"], {}, "x" * 65])
    Registration(_register(hardware_id="x" * 64))
    for name, low, high in (
        ("heartbeat_ms", 250, 60_000),
        ("max_line_bytes", MIN_LINE_BYTES, 1 << 30),
        ("max_chunk_bytes", 0, 1 << 30),
    ):
        for good in (low, high):
            assert getattr(Registration(_register_with(name, good)), name) == good
        _refuse_each(name, [None, "600", 600.0, True, low - 1, high + 1, -high])
    _refuse_each("protocol", [None, "1", 1.0, True, 0, -1])


def test_what_is_for_people_fits_a_line_whatever_it_is_made_of() -> None:
    for sign in ("x", "\u00e9", "\U0001f3af", "\x01", '"'):
        registration = Registration(_register(firmware=sign * 64, state=sign * 64))
        for text in (registration.firmware, registration.state):
            assert text
            assert (sign * 64).startswith(text)
            assert len(SocketMessage("x", 1, data={"x": text}).to_line()) <= 100
    assert Registration(_register(firmware="x" * 64)).firmware == "x" * 64


def test_groups_are_a_short_list_of_names() -> None:
    assert len(Registration(_register(groups=["g"] * MAX_GROUPS)).groups) == MAX_GROUPS
    _refuse_each("groups", [None, "left", {}, 1, [1], [None], ["a b"], [""], ["group:a"]])
    _refuse_each("groups", [["g" * 33], ["g"] * (MAX_GROUPS + 1)])


def test_the_hubs_reply_is_read_by_the_board() -> None:
    message = _register(heartbeat_ms=1000)
    reply = Registration(message).reply(message, "hub-boot", 123_456, 1_024)
    assert reply.id == "r"
    assert reply.target_id == "t_1"
    assert reply.status == "registered"
    assert reply.data == {
        "protocol": 1,
        "heartbeat_ms": 1000,
        "dead_after_ms": 3000,
        "max_line_bytes": 4096,
        "max_chunk_bytes": 1_024,
        "boot_id": "hub-boot",
        "hub_us": 123_456,
    }
    registered = Registered(SocketMessage.from_line(reply.to_line()))
    assert registered.heartbeat_ms == 1000
    assert registered.max_line_bytes == 4096
    assert registered.max_chunk_bytes == 1_024
    assert registered.boot_id == "hub-boot"


def test_a_peer_registers_with_what_it_says_of_itself() -> None:
    message = register_message(1, {"role": "console", "boot_id": "b"}, "t_1", 2_048)
    registration = Registration(SocketMessage.from_line(message.to_line()))
    assert registration.target_id == "t_1"
    assert registration.role == "console"
    assert registration.boot_id == "b"
    assert not registration.wants_challenge
    assert registration.max_chunk_bytes == 2_048
    assert register_message(2, {}).data == {"protocol": 1}


def test_registered_is_checked() -> None:
    assert Registered(SocketMessage("registered", 1)).heartbeat_ms == 600
    assert Registered(SocketMessage("registered", 1)).max_chunk_bytes == 0
    raises(ErrorCode.UNKNOWN_TYPE, Registered, SocketMessage("pong", 1))
    for data in (
        {"heartbeat_ms": 249},
        {"heartbeat_ms": "600"},
        {"heartbeat_ms": 60_001},
        {"max_line_bytes": MIN_LINE_BYTES - 1},
        {"max_chunk_bytes": -1},
        {"boot_id": 5},
    ):
        raises(ErrorCode.BAD_MESSAGE, Registered, SocketMessage("registered", 1, data=data))  # type: ignore[arg-type]


def test_the_largest_registration_fits_the_smallest_line() -> None:
    message = _register(
        "t" * 32,
        role="console",
        hardware_id="h" * 64,
        boot_id="b" * 64,
        firmware="f" * 64,
        state="s" * 64,
        groups=["g" * 32] * MAX_GROUPS,
        protocol=1,
        heartbeat_ms=60_000,
        max_line_bytes=1 << 30,
    )
    message.id = "i" * 64
    Registration(message)
    assert len(message.to_line()) <= MIN_LINE_BYTES
