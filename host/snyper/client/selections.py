"""One command to several targets: names, groups, all. They begin together, each has its result."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from snyper.client import HubClient, TargetResult, connect, instants
from snyper.shared.link_core import MAX_HANDLERS
from snyper.shared.socket_protocol import ALL_TARGETS, GROUP_PREFIX, ErrorCode, ProtocolError

# A hub has so many requests of one console under way; one place is for what keeps the connection alive.
_AT_ONCE = MAX_HANDLERS - 1


@dataclass(frozen=True)
class TargetCommand:
    """A command to targets. It begins at once, in `in_s` seconds or `at` an instant: all at the same one."""

    word: str
    timeout_ms: int
    data: dict[str, object] = field(default_factory=dict)
    in_s: float | None = None
    at: datetime | int | None = None


async def carry_out(
    hub: str,
    selectors: Sequence[str],
    command: TargetCommand,
    on_result: Callable[[TargetResult], None],
    on_item: Callable[[str, dict[str, object]], None] | None = None,
) -> list[TargetResult]:
    """Send a command, and return a result for each target that the selectors mean, once for one that several
    of them mean. Of one selector that means nobody ProtocolError `unknown_target` is raised; of several it is
    the result. `on_result` and `on_item` are those of `HubClient.command`.

    Raises ProtocolError, OSError, and ValueError for an instant that is over or too far ahead.
    """
    async with AsyncExitStack() as stack:
        console = await stack.enter_async_context(connect(hub))
        chosen = await _without_overlap(console, selectors)
        consoles = [console]
        while len(consoles) * _AT_ONCE < len(chosen):
            consoles.append(await stack.enter_async_context(connect(hub)))
        data = await _data_of(console, command, len(chosen) > 1)
        if len(chosen) == 1:
            return await console.command(chosen[0], command.word, on_result, on_item, **data)

        async def one(number: int, selector: str) -> list[TargetResult]:
            own = consoles[number // _AT_ONCE]
            try:
                return await own.command(selector, command.word, on_result, on_item, **data)
            except ProtocolError as error:
                if error.code != ErrorCode.UNKNOWN_TARGET:
                    raise
                return [TargetResult(selector, False, "error", 0, error.code, error.message)]

        results = await asyncio.gather(*(one(number, selector) for number, selector in enumerate(chosen)))
    return [result for some in results for result in some]


async def _without_overlap(console: HubClient, selectors: Sequence[str]) -> list[str]:
    """Return the selectors, with the names of a group's targets in its place where other selectors are given
    too.
    """
    if ALL_TARGETS in selectors:
        return [ALL_TARGETS]
    chosen = list(dict.fromkeys(selectors))
    if len(chosen) == 1 or not any(selector.startswith(GROUP_PREFIX) for selector in chosen):
        return chosen
    here = [target for target in await console.targets() if target.connected]
    names: list[str] = []
    for selector in chosen:
        group = selector.removeprefix(GROUP_PREFIX)
        members = [target.target_id for target in here if group in target.groups]
        names += members if selector != group and members else [selector]
    return list(dict.fromkeys(names))


async def _data_of(console: HubClient, command: TargetCommand, shared: bool) -> dict[str, object]:
    data: dict[str, object] = {**command.data, "timeout_ms": command.timeout_ms}
    at = command.at
    if command.in_s is not None and not shared:
        data["in_ms"] = round(command.in_s * 1000)
    elif command.in_s is not None:
        at = datetime.now(UTC) + timedelta(seconds=command.in_s)
    if at is not None:
        data["at_us"] = await instants.on_hub(console, at)
    return data
