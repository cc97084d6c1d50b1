"""Throttle guesses of the password, by the address that they come from, of IPv6 by its network. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from snyper.device.addresses import network_of

MAX_ADDRESSES = 10_000  # remembered; the one that guessed longest ago is forgotten first
FORGET_S = 3_600.0  # after which an address has its free guesses again


@dataclass
class _Guesser:
    wrong: int = 0
    next_s: float = 0.0


class LoginThrottle:
    """Counts wrong guesses. One that has begun counts as wrong until it is judged, so many that begin at once
    gain nothing over as many one after the other.
    """

    def __init__(self, free: int, most_wait_s: float) -> None:
        """`free` wrong guesses of an address cost nothing, then each doubles the wait up to `most_wait_s`."""
        self._free = free
        self._most_wait_s = most_wait_s
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers)

    def begin(self, address: str, now_s: float) -> float:
        """Begin a guess, which `end` ends, and return 0. Or return for how many seconds there may be none
        from that address.
        """
        address = network_of(address)
        guesser = self._guessers.setdefault(address, _Guesser())
        self._guessers.move_to_end(address)
        if len(self._guessers) > MAX_ADDRESSES:
            self._guessers.popitem(last=False)
        if now_s < guesser.next_s:
            return guesser.next_s - now_s
        if guesser.wrong and now_s - guesser.next_s > FORGET_S:
            guesser.wrong = 0
        guesser.wrong += 1
        beyond = guesser.wrong - self._free
        wait_s = min(self._most_wait_s, 2.0 ** min(beyond, 30)) if beyond >= 0 else 0.0
        guesser.next_s = now_s + wait_s
        return 0.0

    def end(self, address: str, right: bool | None) -> None:
        """End a guess: it was right, wrong, or None: never judged, as its connection broke off."""
        address = network_of(address)
        guesser = self._guessers.get(address)
        if guesser is None:
            return
        if right:
            del self._guessers[address]
        elif right is None:
            guesser.wrong -= 1
            if guesser.wrong < self._free:
                guesser.next_s = 0.0
