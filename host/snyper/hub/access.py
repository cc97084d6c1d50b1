"""The access to a hub on a computer: where it listens, its keys, and who is cut when one goes."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from snyper.client.addresses import is_loopback
from snyper.client.environment import Keys, keys
from snyper.firmware.master.keyring import line_of
from snyper.firmware.master.registry import Peer
from snyper.firmware.master.server import SWEEP_MS, Access, Hub, refuse
from snyper.hub.options import Options
from snyper.shared.address import parse_address
from snyper.shared.handshake_server import Registration
from snyper.shared.link import Link
from snyper.shared.log import log
from snyper.shared.socket_protocol import PORT, ErrorCode, ProtocolError, SocketMessage
from snyper.system.still_file import POLL_S, StillFile


def decided(options: Options) -> tuple[Options, Keys]:
    """Decide where a hub listens, unless `options` say it, and which keys it takes: without a key only on
    this computer, unless it is to be open.

    Raises ValueError, which says what to do, for keys that cannot be read, and for an address that others
    reach where there is no key.
    """
    found = keys()
    is_guarded = bool(found.lines) or options.is_open
    if not options.listen:
        return replace(options, listen=f":{PORT}" if is_guarded else f"127.0.0.1:{PORT}"), found
    if not is_guarded and not is_loopback(parse_address(options.listen)[0]):
        raise ValueError(
            f"others can reach {options.listen}, and there is no key: make one with `snyper keys new`, "
            "listen on 127.0.0.1, or let everybody in with --open"
        )
    return options, found


class KeyedHub(Hub):
    """A hub whose keys may change while it runs.

    Whoever takes a new name each time is held to `new_names_per_s`, once `new_names_at_once` have come: each
    is an event that the journal keeps.
    """

    new_names_at_once = 10_000
    new_names_per_s = 20
    _new_names = 0  # lately: the sweep counts down

    def serve_peer(self, link: Link, message: SocketMessage, registration: Registration) -> Peer:
        """Admit a peer, as Hub does, unless too many new names have come."""
        name = registration.target_id
        if name is not None and name not in self.router.registry.named:
            if self._new_names >= self.new_names_at_once:
                raise ProtocolError(ErrorCode.BUSY, "too many new names have come: wait")
            self._new_names += 1
        return super().serve_peer(link, message, registration)

    def _put_out(self) -> None:
        self._new_names = max(0, self._new_names - self.new_names_per_s * SWEEP_MS // 1000)
        super()._put_out()

    def change_keys(self, lines: str) -> None:
        """Take these keys instead, as `keyring.py` has them, and cut whoever has proven one that is not among
        them as it was. Where no key was needed none is.
        """
        before, self.keys = self.keys, lines
        for link in list(self.links):
            if link.sealed is not None:
                name = link.sealed.claim[2]
                if line_of(before, name) != line_of(lines, name):
                    refuse(
                        link, ErrorCode.UNAUTHORIZED, f"the key {name} was revoked, or changed: get another"
                    )

    async def follow(self, path: Path, read: Callable[[], Keys] = keys) -> None:
        """Take the keys as they are in the file `path` whenever it changes, until cancelled. What cannot be
        read changes nothing, is logged, and is tried again.
        """
        file, failed = StillFile(path), object()
        was_there = False  # else it may be a pipe
        while True:
            if await asyncio.to_thread(file.has_changed):
                if file.stamp is None:
                    if was_there:
                        log("hub", f"{path} is gone: its keys hold until this hub is started again")
                    file.take()
                elif await self._take(read, is_again=file.stamp == failed):
                    file.take()
                else:
                    failed = file.stamp
                was_there = file.stamp is not None
            await asyncio.sleep(POLL_S)

    async def _take(self, read: Callable[[], Keys], is_again: bool) -> bool:
        try:
            lines = (await asyncio.to_thread(read)).lines
        except ValueError as error:
            if not is_again:
                log("hub", f"its keys stay as they were: {error}")
            return False
        if "\n".join(lines) != self.keys:
            names = ", ".join(line.partition(":")[0] for line in lines)
            log("hub", f"its keys are now {names}" if names else "it has no key any more")
            if not names and self.access == Access.KEYS:
                log("hub", "it lets nobody in: make a key with `snyper keys new`")
            if self.access == Access.LOCAL:
                log("hub", "it listens for this computer alone, as before: start it again to let boards in")
            self.change_keys("\n".join(lines))
        return True
