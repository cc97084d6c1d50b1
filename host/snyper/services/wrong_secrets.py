"""The wrong secrets that came from each address, so that guessing at the server is slow. Pure."""

AT_ONCE = 10  # of one address, before it is held to one each PACE_S
PACE_S = 1.0
MAX_ADDRESSES = 1_000  # that are known; who has been good for longest is forgotten first


class WrongSecrets:
    """Counts them. However many there were, one more is judged after PACE_S."""

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}

    def late_s(self, address: str, now_s: float) -> float:
        """Return for how long nothing of that address is judged; 0 where it is."""
        return max(0.0, self._due_s.get(address, 0.0) - now_s - AT_ONCE * PACE_S)

    def count(self, address: str, now_s: float) -> None:
        """Count one more of that address."""
        due_s = min(max(now_s, self._due_s.get(address, 0.0)), now_s + AT_ONCE * PACE_S)
        self._due_s[address] = due_s + PACE_S
        if len(self._due_s) > MAX_ADDRESSES:
            del self._due_s[min(self._due_s, key=lambda other: self._due_s[other])]
