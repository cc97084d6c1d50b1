"""The face of the cameras' log over REST: who searched, exported and erased; rules, and what they did."""

import re
from collections.abc import Sequence

from snyper.cameras.grants import LOG, WATCH, Grants, is_among
from snyper.cameras.log import DELETE, EXPORT, RULE, SEARCH, LogRow
from snyper.cameras.records import Malformed
from snyper.cameras.rules import CEASE_FIRE, Rule
from snyper.cameras.service import Cameras
from snyper.cameras.times import iso
from snyper.device.serving.exchange import Exchange
from snyper.gateway.app import Gateway
from snyper.gateway.camera_requests import fields_of, limit_of, shaped

_NUMBER = re.compile(r"[0-9]{1,18}")


class LogRoutes:
    """The REST of the log. `rules` are those that are at work."""

    def __init__(self, cameras: Cameras, grants: Grants, rules: Sequence[Rule]) -> None:
        self._cameras = cameras
        self._grants = grants
        self._rules = rules

    def add_to(self, gateway: Gateway) -> None:
        """Serve it."""
        gateway.add("GET", "/api/log", shaped(self._log))
        gateway.add("GET", "/api/rules", shaped(self._fired))

    async def _log(self, exchange: Exchange) -> None:
        self._grants.check_every(exchange.principal, LOG)
        rows, next_cursor = await self._page(exchange, (SEARCH, EXPORT, DELETE))
        log = [log_body(row) for row in rows]
        await exchange.answer_json({"success": True, "log": log, "next_cursor": next_cursor})

    async def _fired(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, WATCH)
        rows, next_cursor = await self._page(exchange, (RULE,))
        fired = [_fired_body(row) for row in rows if among is None or is_among(row.what["camera_id"], among)]
        rules = [_rule_body(rule) for rule in self._rules if among is None or _is_seen(rule, among)]
        await exchange.answer_json(
            {"success": True, "rules": rules, "fired": fired, "next_cursor": next_cursor}
        )

    async def _page(self, exchange: Exchange, kinds: Sequence[str]) -> tuple[list[LogRow], str | None]:
        """Return a page of rows, and where the next one begins."""
        fields = fields_of(exchange)
        limit, before = limit_of(fields.get("limit", "")), fields.get("before")
        if before is not None and not _NUMBER.fullmatch(before):
            raise Malformed("before is the next_cursor of a page")
        rows = await self._cameras.log.rows(kinds, limit + 1, None if before is None else int(before))
        return rows[:limit], str(rows[limit - 1].number) if len(rows) > limit else None


def log_body(row: LogRow) -> dict[str, object]:
    """Return a row of who searched, exported or erased."""
    return {
        "at": iso(row.first_s),
        "last_at": iso(row.last_s),
        "key": row.who or None,
        "what": row.kind,
        "filters": row.what,
        "plate": row.plate,
        "times": row.times,
        "count": row.count,
    }


def _fired_body(row: LogRow) -> dict[str, object]:
    return {
        "rule": row.who,
        **row.what,
        "detection_id": row.about,
        "at": iso(row.first_s),
        "last_at": iso(row.last_s),
        "times": row.times,
    }


def _is_seen(rule: Rule, among: Sequence[str]) -> bool:
    """Tell whether a rule is about a camera that may be seen, or about any."""
    camera = rule.camera if rule.silent is None else rule.silent
    return camera is None or is_among(camera, among)


def _rule_body(rule: Rule) -> dict[str, object]:
    if rule.silent is not None:
        when: dict[str, object] = {"silent": rule.silent}
    else:
        when = {
            "class": rule.class_name,
            "camera": rule.camera,
            "min_confidence": rule.min_confidence,
            "for_frames": rule.for_frames,
            "max_age": rule.max_age_s,
            "max_gap": rule.max_gap_s,
        }
    return {"name": rule.name, "when": when, "then": CEASE_FIRE}
