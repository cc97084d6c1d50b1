"""Admission of peers: a key, a name, a place. Loaded for each registration, which is rare."""

from snyper.firmware.master.registry import Peer, Registry
from snyper.firmware.master.server import Access, refuse
from snyper.shared.clock import now_ms
from snyper.shared.handshake_server import Registration, Role
from snyper.shared.link_core import CloseReason, State
from snyper.shared.runtime import unload
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    ErrorCode,
    ProtocolError,
    SocketMessage,
    is_target_id,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.firmware.master.server import Hub
    from snyper.shared.link import Link


WRONG_KEY_MS = 1_000  # so many a second of one address are judged, once it has had those at once
MAX_ADDRESSES = 64  # whose wrong keys are counted


def register(hub: "Hub", link: "Link", message: SocketMessage) -> None:
    """Admit who sends `message`, a `register`, or challenge or refuse it."""
    if link.sealed is not None:  # it has proven its key: what it sealed was sealed as it must be
        link._stream = link.sealed
        link.on_close = None
    try:
        registration = Registration(message)
        _check_address(hub, link)
        if registration.wants_challenge and link.sealed is None:
            _challenge(hub, link, message, registration)
            return
        _check_proof(hub, link, registration)
        _check_events(hub, registration)
        is_named = role_of(registration.role).is_named
        if is_named and live_link(hub.router.registry, registration) is not None:
            from snyper.firmware.master.duplicates import admit_after_probe

            unload("snyper.firmware.master.duplicates")
            admit_after_probe(hub, link, message, registration)
        else:
            hub.serve_peer(link, message, registration)
    except ProtocolError as error:
        refuse_registration(hub, link, message, error)


def put_out_stranger(strangers: "list[Link]") -> None:
    """Hang up on the stranger who has been here longest, but for the one who came last: if possible on one
    who has been told why it is not served. Who has been challenged is a stranger like any other: anybody is.
    """
    here = [link for link in strangers[:-1] if link.state != State.CLOSED]
    oldest = [link for link in here if link.state == State.LINGERING] or here
    if oldest:
        oldest[0].end(ProtocolError(ErrorCode.BUSY, "others wait for this place"), CloseReason.REFUSED)


def _challenge(hub: "Hub", link: "Link", message: SocketMessage, registration: Registration) -> None:
    """Challenge a peer to prove that it has the key that it names: what it says from now on has to be sealed.

    Raises ProtocolError: `unauthorized` where there is no key at all, `bad_message` for no nonce.
    """
    if not hub.keys:
        raise ProtocolError(ErrorCode.UNAUTHORIZED, "this hub has no key, and this peer wants one of it")
    from snyper.firmware.master.keyring import key_named
    from snyper.shared.handshake_server import challenge

    try:
        challenge(link, message, registration, key_named(hub.keys, registration.key))
    finally:  # not before: the one loads the other
        unload("snyper.firmware.master.keyring", "snyper.shared.keys")
    link.on_close = hub.on_unproven


def count_wrong_key(hub: "Hub", address: "Any") -> None:
    """Count a wrong key against the address that it came from: one is forgotten in WRONG_KEY_MS, and however
    many there were, one more is judged after that time. Who was challenged there before is not judged now.
    """
    if hub.wrong_keys is None:
        hub.wrong_keys = {}
    due_ms = hub.wrong_keys
    at_once_ms = hub.wrong_keys_at_once * WRONG_KEY_MS
    due_ms[address] = min(max(now_ms(), due_ms.get(address, 0)), now_ms() + at_once_ms) + WRONG_KEY_MS
    if len(due_ms) > MAX_ADDRESSES:
        del due_ms[min(due_ms, key=lambda other: due_ms[other])]  # the one that has been good for longest
    try:
        _check_wrong_keys(hub, address)
    except ProtocolError as error:
        for link in hub.strangers[:]:
            if link.on_close is not None and link.close_error is None and link._stream.address == address:
                refuse(link, error.code, error.message)


def _check_wrong_keys(hub: "Hub", address: "Any") -> None:
    """Check that not too many wrong keys came from that address. Raises ProtocolError `busy`."""
    late_ms = (hub.wrong_keys or {}).get(address, 0) - now_ms() - hub.wrong_keys_at_once * WRONG_KEY_MS
    if late_ms > 0:
        raise ProtocolError(
            ErrorCode.BUSY, "too many wrong keys from your address: try again in %d ms" % late_ms
        )


def _check_address(hub: "Hub", link: "Link") -> None:
    """Check that one more may come from that address. Raises ProtocolError `busy`."""
    address = link._stream.address
    if link.sealed is None:
        _check_wrong_keys(hub, address)
    if hub.per_address < hub.max_connections:
        others = [other for other in hub.links if other not in hub.strangers]
        if len([other for other in others if other._stream.address == address]) >= hub.per_address:
            raise ProtocolError(
                ErrorCode.BUSY, "this hub takes %d connections of one address" % hub.per_address
            )


def _check_events(hub: "Hub", registration: Registration) -> None:
    """Check that the name has not caused too many events. Raises ProtocolError `busy`."""
    name = registration.target_id or ""
    if hub.caused.get(name, 0) > hub.events_at_once:
        raise ProtocolError(ErrorCode.BUSY, "%s has caused too many events: wait" % name)


def _check_proof(hub: "Hub", link: "Link", registration: Registration) -> None:
    """Check that a peer has proven a key, for this role and this name and with the rights to it, where it has
    to. Raises ProtocolError `unauthorized`.
    """
    sealed = link.sealed
    if sealed is None:
        if hub.access != Access.KEYS:
            return
    elif sealed.claim[:2] == (registration.role, registration.target_id):
        from snyper.firmware.master.keyring import check_rights

        unload("snyper.firmware.master.keyring")
        check_rights(hub.keys, sealed.claim[2], registration)
        return
    raise ProtocolError(
        ErrorCode.UNAUTHORIZED,
        "this hub wants proof of its key, for each role and each name"
        if hub.keys
        else "this hub has no key to let anybody in by: give it one",
    )


def refuse_registration(hub: "Hub", link: "Link", message: SocketMessage, error: ProtocolError) -> None:
    """Tell a peer why it is not admitted, and hang up."""
    is_duplicate = error.code == ErrorCode.DUPLICATE_TARGET
    if is_duplicate:
        from snyper.firmware.master.duplicates import record_duplicate

        unload("snyper.firmware.master.duplicates")
        record_duplicate(hub.router, message, error)  # which says it once, not each time
    refuse(link, error.code, error.message, message, quiet=is_duplicate)


def role_of(word: str) -> "type[Peer]":
    """Return the class of a role, a line each: loaded when the first peer of that role registers.

    Raises ProtocolError `unsupported` for another word.
    """
    role: "Any"
    if word == Role.TARGET:
        from snyper.firmware.master.roles.target import Target as role
    elif word == Role.CONSOLE:
        from snyper.firmware.master.roles.console import Console as role
    elif word == Role.SERVICE:
        from snyper.firmware.master.roles.service import Service as role
    else:
        raise ProtocolError(ErrorCode.UNSUPPORTED, "this hub has no role `%s`" % word)
    return role  # type: ignore[no-any-return]


def holder(registry: Registry, target_id: "str | None", hardware_id: str) -> "Peer | None":
    """Return the peer that is connected under this name, or else with this hardware id; None where there is
    neither.
    """
    for peer in (registry.named.get(target_id or ""), registry.boards.get(hardware_id)):
        if peer is not None and peer.link is not None:
            return peer
    return None


def live_link(registry: Registry, registration: Registration) -> "Link | None":
    """Return the live link of a board with the same hardware id, under this name or another: the same one's,
    or another's.

    Raises ProtocolError: `bad_message` for no name of its own, `duplicate_target` when another board has the
    name.
    """
    target_id = registration.target_id
    if target_id is None or not is_target_id(target_id) or target_id == ALL_TARGETS:
        raise ProtocolError(
            ErrorCode.BAD_MESSAGE,
            "a %s registers with a `target_id` of its own, which is not `all`" % registration.role,
        )
    peer = holder(registry, target_id, registration.hardware_id)
    if peer is None:
        return None
    is_same = registration.hardware_id and registration.hardware_id == peer.hardware_id
    if not is_same or registration.role != peer.role:
        raise ProtocolError(
            ErrorCode.DUPLICATE_TARGET, "another board is connected as %s: rename one" % target_id
        )
    return peer.link


def admit(
    registry: Registry, registration: Registration, link: "Link", create: "Callable[[str], Peer]"
) -> "tuple[Peer, Link | None]":
    """Admit a peer. Returns it, and the link that the same board had before, if it still counts as live.
    `create` makes one that is new in its role.

    Raises ProtocolError: `bad_message` for no name of its own, `duplicate_target` when another board is
    live under that name, `busy` when the hub is full.
    """
    replaced = None
    peer = create(registration.target_id or "")
    if peer.is_named:
        replaced = live_link(registry, registration)
        known = registry.named.get(peer.target_id)
        if known is not None and known.role == peer.role:
            peer = known
    if replaced is None:
        _check_place(registry, peer, registration.may_command)
    if peer.link is None:
        registry.count += peer.is_target
    if not peer.is_named:
        registry.others.append(peer)
    else:
        if registry.named.get(peer.target_id) is not peer:
            _drop_oldest(registry)
            registry.named[peer.target_id] = peer
        _forget_board(registry, peer)
        if registration.hardware_id:
            registry.boards[registration.hardware_id] = peer
    if not registration.may_command:
        peer.may_command = False
    peer.register(registration, link)
    return peer, replaced


def _forget_board(registry: Registry, peer: Peer) -> None:
    if registry.boards.get(peer.hardware_id) is peer:
        del registry.boards[peer.hardware_id]


def _check_place(registry: Registry, peer: Peer, may_command: bool) -> None:
    """Check that the hub takes one more of its role, and that who may only read leaves half of the places to
    others. Raises ProtocolError `busy`.
    """
    limit = peer.limit(registry)
    here = registry.count
    if not peer.is_target:
        others = registry.others + list(registry.named.values())
        others = [other for other in others if other.role == peer.role and other.link is not None]
        here = len(others)
        if not may_command:
            here = max(here, limit // 2 + len([other for other in others if not other.may_command]))
    if here >= limit:
        many = "s" * (limit > 1)
        raise ProtocolError(ErrorCode.BUSY, "this hub takes %d %s%s" % (limit, peer.role, many))


def _drop_oldest(registry: Registry) -> None:
    """Drop the peer that has been away longest, where there are too many for one more."""
    if len(registry.named) < registry.max_targets:
        return
    away = [peer for peer in registry.named.values() if peer.link is None]
    if len(away) >= registry.max_targets:
        oldest = min(away, key=lambda peer: peer.last_seen_ms)
        del registry.named[oldest.target_id]
        _forget_board(registry, oldest)
