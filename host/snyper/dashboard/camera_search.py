"""Searches among the records of cameras, and what they find. Pure."""

import time
from dataclasses import dataclass, replace
from typing import Any

from snyper.dashboard import camera_faces as faces

PAGE = 24  # records, or visits
_VISITS_S = 2.0  # they are made of many records
_OLD_S = 10.0
_MOST_CHARS = 128
_MOST_S = 253_402_300_799  # the end of the year 9999

Said = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """Conditions of records, or of visits; empty ones are none. Times are in seconds since 1970."""

    is_of_visits: bool = False
    plate: str = ""
    camera_id: str = ""
    checkpoint_id: str = ""
    from_s: float | None = None
    until_s: float | None = None
    before: str = ""

    @property
    def path(self) -> str:
        return "/api/visits" if self.is_of_visits else "/api/records"

    @property
    def every_s(self) -> float:
        """Return how often it is worth asking again: what comes now may belong to a first page."""
        return _OLD_S if self.before else _VISITS_S if self.is_of_visits else 0.0

    def conditions(self) -> dict[str, str]:
        """Return the conditions as the gateway is asked for them."""
        named = {
            "plate": self.plate,
            "camera_id": self.camera_id,
            "checkpoint_id": self.checkpoint_id,
            "from": _iso(self.from_s),
            "until": _iso(self.until_s),
        }
        return {name: value for name, value in named.items() if value}

    def fields(self) -> dict[str, str | int]:
        """Return what the gateway is asked for."""
        place = {"before": self.before} if self.before else {}
        return {**self.conditions(), "limit": PAGE, **place}

    def at(self, before: str) -> "Search":
        """Return the page of it that begins there."""
        return replace(self, before=before[:_MOST_CHARS])


def search_of(said: Said) -> Search:
    """Return what a browser asks for."""

    def words(name: str) -> str:
        value = said.get(name)
        return value.strip()[:_MOST_CHARS] if isinstance(value, str) else ""

    def at_s(name: str) -> float | None:
        value = faces.number(said.get(name))
        return None if value is None else min(max(value, 0.0), _MOST_S)

    return Search(
        is_of_visits=said.get("visits") is True,
        plate=words("plate"),
        camera_id=words("camera_id"),
        checkpoint_id=words("checkpoint_id"),
        from_s=at_s("from_s"),
        until_s=at_s("until_s"),
    )


def found_of(search: Search, answer: Said) -> Said:
    """Return what a browser is told was found."""
    following = answer.get("next_cursor")
    face = faces.visit_face if search.is_of_visits else faces.record_face
    listed = answer.get("visits" if search.is_of_visits else "records")
    return {
        "problem": "",
        "visits": search.is_of_visits,
        "records": [face(one) for one in faces.items(listed, PAGE)],
        "count": None if search.is_of_visits else faces.count(answer.get("total_count")),
        "next": str(following)[:_MOST_CHARS] if isinstance(following, str | int) else None,
    }


def _iso(at_s: float | None) -> str:
    return "" if at_s is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
