"""Sends the commands of one browser to targets, and shows what becomes of them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nicegui import Client, ui

from snyper.client import HubClient, TargetResult
from snyper.dashboard import widgets
from snyper.dashboard.feed import HubFeed
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    GROUP_PREFIX,
    is_target_id,
)

MAX_GROUPS = 8  # of one target
MAX_GROUPS_SHOWN = 40  # of all; the others are found by name
AT_ONCE = 4  # commands to single targets: a hub serves eight requests of one console, and two are the feed's

Work = Callable[[HubClient, str], Coroutine[Any, Any, list[TargetResult]]]
_Meant = tuple[frozenset[str], list[str]]  # names and selectors, and of them the selectors


class RangeCommands:
    """The commands to targets and their groups, each said to the person who gave it."""

    def __init__(self, feed: HubFeed, client: Client, on_waiting: Callable[[], None]) -> None:
        """`on_waiting` is called when a command is under way to other targets than before."""
        self.feed = feed
        self.client = client
        self.duration_ms = DEFAULT_DURATION_MS
        self.dragged = ""  # the target whose card is under way
        self._is_asking = False  # one dialog at a time
        self._on_waiting = on_waiting
        self._waiting: list[_Meant] = []  # of each command that is under way

    async def stand_up(self, meant: Sequence[str]) -> None:
        await self._command("Stand up", meant, lambda hub, target: hub.stand_up(target))

    async def lay_down(self, meant: Sequence[str]) -> None:
        await self._command("Lay down", meant, lambda hub, target: hub.lay_down(target))

    async def activate(self, meant: Sequence[str]) -> None:
        await self._command("Activate", meant, lambda hub, target: hub.activate(target, self.duration_ms))

    async def identify(self, meant: Sequence[str]) -> None:
        if await self._command("Identify", meant, lambda hub, target: hub.identify(target)):
            widgets.notice(self.client, f"For ten seconds {_whose_light(meant)}", good=True)

    async def _command(self, what: str, meant: Sequence[str], work: Work) -> bool:
        """Send it to each that is meant, selectors or names; return whether all carried it out."""
        with self._waits(meant):
            return await widgets.command(self.feed, self.client, what, lambda hub: each(hub, meant, work))

    @contextmanager
    def _waits(self, meant: Sequence[str]) -> Iterator[None]:
        selectors = [one for one in meant if one == ALL_TARGETS or one.startswith(GROUP_PREFIX)]
        waits = (frozenset(meant), selectors)
        self._waiting.append(waits)
        self._on_waiting()
        try:
            yield
        finally:
            self._waiting.remove(waits)
            if not self.client.is_deleted:
                self._on_waiting()

    def is_waited_for(self, name: str) -> bool:
        """Return whether a command is under way to the target of that name."""
        return any(
            name in names or any(self.is_meant(name, selector) for selector in selectors)
            for names, selectors in self._waiting
        )

    def is_meant(self, name: str, selector: str) -> bool:
        """Return whether the target of that name is among those that `selector` means."""
        target = self.feed.model.targets.get(name)
        if selector.startswith(GROUP_PREFIX) and target is not None:
            return selector[len(GROUP_PREFIX) :] in target.info.groups
        return selector in (ALL_TARGETS, name)

    # --- groups

    async def join(self, target_id: str, group: str) -> None:
        """Add the target to the group."""
        target = self.feed.model.targets.get(target_id)
        if target is not None and group not in target.info.groups:
            await self.set_groups(target_id, [*target.info.groups, group])

    async def leave(self, target_id: str, group: str) -> None:
        target = self.feed.model.targets.get(target_id)
        if target is not None and group in target.info.groups:
            await self.set_groups(target_id, [name for name in target.info.groups if name != group])

    async def set_groups(self, target_id: str, groups: list[str]) -> None:
        """Write them to the target's own configuration, and say how that went."""
        if len(groups) > MAX_GROUPS:
            widgets.notice(
                self.client, f"{target_id} is in {MAX_GROUPS} groups", "Take it out of one of them first."
            )
            return

        async def work(hub: HubClient) -> list[TargetResult]:
            return [await hub.configure(target_id, groups=groups)]

        what = f"The groups of {target_id}"
        with self._waits([target_id]):
            done = await widgets.ask(self.feed, self.client, what, work)
        if done is not None:
            self.feed.poll_now()
            words = f"{target_id} is in {widgets.joined(groups)}" if groups else f"{target_id} is in no group"
            widgets.notice(self.client, words, good=True)

    async def edit_groups(self, target_id: str, propose: str = "") -> None:
        """Ask which groups it is to be in, for keyboard and phone: boxes to tick, a field for a new name."""
        target = self.feed.model.targets.get(target_id)
        if target is None or self._is_asking:
            return
        self._is_asking = True
        try:
            groups = await self._ask_groups(target_id, target.info.groups, propose)
        finally:
            self._is_asking = False
        if groups is not None and groups != target.info.groups:
            await self.set_groups(target_id, groups)

    async def _ask_groups(self, target_id: str, chosen: list[str], propose: str) -> list[str] | None:
        with self.client.layout, ui.dialog() as dialog, widgets.box("form", "sheet").props("novalidate"):
            dialog.props('aria-label="Groups"')
            widgets.text("h2", f"Groups of {target_id}")
            known = list(self.feed.model.overview().groups)[:MAX_GROUPS_SHOWN]
            ticks = {group: ui.checkbox(group, value=group in chosen) for group in known}
            field = ui.input(
                "New group",
                value=propose,
                validation={
                    "1 to 32 letters, digits, _ - .": lambda name: not name or is_target_id(name.strip())
                },
            ).props("outlined autofocus")
            with widgets.box("div", "actions"):
                widgets.Button("Cancel", dialog.close)

                def save() -> None:
                    if field.validate():
                        new = (field.value or "").strip()
                        ticked = [group for group, tick in ticks.items() if tick.value]
                        dialog.submit([*ticked, new] if new and new not in ticked else ticked)

                widgets.Button("Save", save, kind="primary")
                field.on("keydown.enter.prevent", save)
        groups: list[str] | None = await widgets.answer(dialog)
        return groups


def _whose_light(meant: Sequence[str]) -> str:
    if len(meant) > 1:
        return f"the lights of {len(meant):,} targets flicker"
    if meant[0] == ALL_TARGETS:
        return "every light flickers"
    if meant[0].startswith(GROUP_PREFIX):
        return f"the lights of {meant[0][len(GROUP_PREFIX) :]} flicker"
    return f"the light of {meant[0]} flickers"


async def each(hub: HubClient, meant: Sequence[str], work: Work) -> list[TargetResult]:
    """Await `work` with each that is meant, AT_ONCE side by side. Raises ProtocolError when it is lost."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(target: str) -> list[TargetResult]:
        async with limit:
            return await work(hub, target)

    return [result for results in await asyncio.gather(*map(one, meant)) for result in results]
