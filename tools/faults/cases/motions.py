"""Commands that move something, over networks that lose, repeat and delay, with peers that are killed."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from snyper.boards.board import BoardProcess
from snyper.client import HubClient, connect
from snyper.shared.socket_protocol import ProtocolError
from tools.chaos import processes
from tools.chaos.processes import plan_kills
from tools.faults.case import Case, Figure, Scale, all_of, at_most, none_of
from tools.faults.ranges import ENGINES, AttackedHub, attacked_hub, is_up, rises, targets_of, until
from tools.faults.wire import Peer, console_of, target_of
from tools.impaired_link import ImpairedLink

UNKNOWN_S = 1.0
SAFE_S = 2.0
BACK_S = 15.0
TARGETS = 4
_STANDING = b'"type":"standing"'
_HEAD = b'"type":"stand_up"'
_LIMITS = {"events_at_once": 100_000}  # a target that comes and goes so often is cut for that else
_OPTIONS = ("--no-journal", *(f"--limit={name}={count}" for name, count in _LIMITS.items()))
_PARTS = ("nothing", "half a line", "a line without its end")


# --- RST


async def reset_amid_command(scale: Scale) -> AsyncIterator[Figure]:
    count = scale.pick(100, 2_000)
    for engine in ENGINES:
        patient = attacked_hub(engine, scale.place(engine), "", _OPTIONS, {"limits": _LIMITS})
        async with patient as hub, console_of(hub.port) as console:
            took_s: list[float] = []
            statuses: list[str] = []
            for number in range(count):
                scale.tell(f"{engine}: {number} of {count}")
                reply, seconds = await _reset_once(hub, console, number)
                statuses.append(reply)
                took_s.append(seconds)
            yield all_of(f"{engine}: answered `unknown`", statuses.count("unknown"), count)
            yield none_of(f"{engine}: answered as done", statuses.count("standing"), count)
            yield at_most(f"{engine}: answered after, worst", max(took_s), UNKNOWN_S, "s")


async def _reset_once(hub: AttackedHub, console: Peer, number: int) -> tuple[str, float]:
    """Have a target reset its connection with a command under way; return the status that the console gets,
    and after how many seconds.
    """
    part = _PARTS[number % len(_PARTS)]
    async with target_of(hub.port, "rude", hardware_id="rude", boot_id=f"b{number}") as target:
        asked = await console.request("stand_up", "rude", timeout_ms=5_000)
        command = await target.expect("stand_up")
        answer = f'{{"type":"standing","id":"{command["id"]}","status":"standing"}}'.encode()
        if part != "nothing":
            await target.send(answer if part == "a line without its end" else answer[: len(answer) // 2])
        began = time.monotonic()
        target.reset()
        while (reply := await console.next()).get("id") != asked:
            pass
        return str(reply["status"]), time.monotonic() - began


# --- kill -9


async def kills(scale: Scale) -> AsyncIterator[Figure]:
    for engine in ENGINES:
        directory = scale.place(engine)
        async with (
            attacked_hub(engine, directory) as hub,
            targets_of(directory, [hub.port] * TARGETS) as boards,
        ):
            safe: list[float] = []
            back: list[float] = []
            for number in range(scale.pick(3, 50)):
                scale.tell(f"{engine}: kill {number + 1}")
                await _kill_once(hub, boards, number, safe, back)
            of = f"worst of {len(back)}"
            yield at_most(f"{engine} hub: targets in their safe pose, {of}", max(safe), SAFE_S, "s")
            yield at_most(f"{engine} hub: all are back, {of}", max(back), BACK_S, "s")
    count = scale.pick(40, 1_000)
    broken: dict[int, str] = {}

    def on_done(seed: int, why: str) -> None:
        scale.tell(f"killed {seed} of {count} times amid commands and hits")
        if why:
            broken[seed] = why

    seeds = list(range(1, count + 1))
    await processes.run(seeds, 6, scale.place("chaos"), on_done, plan_kills)
    yield none_of("runs with a motion twice, or a hit lost or twice there", len(broken), count)
    for seed, why in itertools.islice(broken.items(), 3):
        yield Figure(f"run {seed}: {why.splitlines()[0]}", "", "", False)


async def _kill_once(
    hub: AttackedHub, boards: list[BoardProcess], number: int, safe: list[float], back: list[float]
) -> None:
    """Kill the hub, a target, or both while all stand; add to `safe` and `back` how long it took."""
    async with connect(hub.address, "") as client:
        results = await client.stand_up("all")
        assert all(result.ok for result in results), results
    kills_hub, kills_target = number % 3 != 1, number % 3 != 0
    dead = boards[number % TARGETS] if kills_target else None
    times_up = {board: board.times_up for board in boards}
    began = time.monotonic()
    if dead is not None:
        await asyncio.to_thread(dead.kill)
    if kills_hub:
        await hub.kill()
        alive = [board for board in boards if board is not dead]
        safe.extend(await asyncio.gather(*(_lies_after(board, began) for board in alive)))
    began = time.monotonic()
    if dead is not None:
        await asyncio.to_thread(dead.start)
        safe.append(await _lies_after(dead, began))
    if kills_hub:
        await hub.start()
    for board in boards:
        if kills_hub or board is dead:
            await until(lambda: board.times_up > times_up[board], f"{board.name} should be back")  # noqa: B023
            back.append(time.monotonic() - began)


async def _lies_after(board: BoardProcess, began: float) -> float:
    def lies() -> bool:
        return bool(board.outputs()["pwm"]) and not is_up(board)

    await until(lies, f"{board.name} should lie down")
    return time.monotonic() - began


# --- lost, repeated and late


@asynccontextmanager
async def _impaired_range(
    engine: str, scale: Scale
) -> AsyncIterator[tuple[HubClient, list[tuple[BoardProcess, ImpairedLink]]]]:
    """Run a hub, and targets each behind a link of its own."""
    directory = scale.place(engine)
    async with attacked_hub(engine, directory) as hub, AsyncExitStack() as stack:
        links = [await stack.enter_async_context(ImpairedLink(hub.port)) for _ in range(TARGETS)]
        boards = await stack.enter_async_context(targets_of(directory, [link.port for link in links]))
        client = await stack.enter_async_context(connect(hub.address, ""))
        yield client, list(zip(boards, links, strict=True))


async def repeated(scale: Scale) -> AsyncIterator[Figure]:
    count = scale.pick(160, 5_000)
    for engine in ENGINES:
        async with _impaired_range(engine, scale) as (client, boards):
            twice = Twice(client, scale, count)
            async with asyncio.TaskGroup() as group:
                for number, (board, link) in enumerate(boards):
                    group.create_task(twice.run(board, link, random.Random(number)))
            for how in sorted(twice.tried):
                yield none_of(f"{engine} hub, {how}: moved again", twice.moved[how], twice.tried[how])


class Twice:
    """Raises targets over a network that loses answers and says commands again, and counts motions."""

    HOW = ("answers lost", "at once", "later", "over the next connection", "after a reboot")
    REBOOT_EVERY = 20

    def __init__(self, client: HubClient, scale: Scale, count: int) -> None:
        self.tried = dict.fromkeys(self.HOW, 0)
        self.moved = dict.fromkeys(self.HOW, 0)
        self._client = client
        self._scale = scale
        self._left = count
        self._count = count

    async def run(self, board: BoardProcess, link: ImpairedLink, rng: random.Random) -> None:
        for turn in itertools.count():
            if self._left <= 0:
                return
            self._left -= 1
            self._scale.tell(f"{self._count - self._left} of {self._count}")
            how = "after a reboot" if turn % self.REBOOT_EVERY == 7 else rng.choice(self.HOW[:-1])
            await self._once(board, link, how)

    async def _once(self, board: BoardProcess, link: ImpairedLink, how: str) -> None:
        said: list[bytes] = []

        def on_line(to_hub: bool, line: bytes) -> int:
            if not to_hub and _HEAD in line:
                said.append(line)
                return 3 if how == "at once" else 1
            return 0 if to_hub and how == "answers lost" and _STANDING in line else 1

        before = rises(board)
        link.on_line = on_line
        with suppress(ProtocolError):
            await self._client.stand_up(board.name, 600)
        link.on_line = None
        if not said:
            return  # it was away: nothing was sent
        await lie_down(self._client, board)
        own = rises(board) - before
        before = rises(board)
        if how == "over the next connection":
            link.cut()
            await lie_down(self._client, board)
        elif how == "after a reboot":
            await asyncio.to_thread(board.restart)
            await lie_down(self._client, board)
            before = rises(board)
        if how != "at once":
            link.inject(False, said[0])
        await lie_down(self._client, board)
        self.tried[how] += 1
        self.moved[how] += own > 1 or rises(board) > before


async def lie_down(client: HubClient, board: BoardProcess) -> None:
    """Have the target lie down, as soon as it is there: what was said before it, it has heard by then."""
    ends = time.monotonic() + 30
    while True:
        with suppress(ProtocolError):
            if (await client.lay_down(board.name))[0].ok:
                return
        if time.monotonic() > ends:
            raise TimeoutError(f"{board.name} should lie down, and did not within 30 s")
        await asyncio.sleep(0.05)


async def past_deadline(scale: Scale) -> AsyncIterator[Figure]:
    count = scale.pick(24, 500)
    for engine in ENGINES:
        async with _impaired_range(engine, scale) as (client, boards):
            found: list[tuple[bool, bool]] = []

            async def hold(board: BoardProcess, link: ImpairedLink, rng: random.Random) -> None:
                for _ in range(count // TARGETS):
                    found.append(await _hold_once(client, board, link, rng))  # noqa: B023
                    scale.tell(f"{len(found)} of {count}")  # noqa: B023

            async with asyncio.TaskGroup() as group:
                for number, (board, link) in enumerate(boards):
                    group.create_task(hold(board, link, random.Random(number)))
            late = sum(moved for moved, _ in found)
            done = sum(said_done for _, said_done in found)
            yield none_of(f"{engine} hub: carried out past its deadline", late, len(found))
            yield none_of(f"{engine} hub: answered as done", done, len(found))


async def _hold_once(
    client: HubClient, board: BoardProcess, link: ImpairedLink, rng: random.Random
) -> tuple[bool, bool]:
    """Keep a command on its way for longer than its deadline; return whether the target moved all the same,
    and whether the hub said so.
    """
    await lie_down(client, board)
    await client.ping(board.name)
    before = rises(board)
    timeout_ms = rng.randint(100, 400)
    link.is_held = True
    try:
        command = client.stand_up if rng.random() < 0.5 else client.activate
        results = await command(board.name, timeout_ms=timeout_ms)
        is_done = results[0].ok
    except ProtocolError:
        is_done = False
    await asyncio.sleep(rng.uniform(0.05, 0.9))
    link.is_held = False
    await lie_down(client, board)
    return rises(board) > before, is_done


CASES = (
    Case(
        7,
        "RST amid a command",
        "A target resets its connection with a command under way: before its answer, in it, before its end.",
        "The console hears `unknown` within 1 s, and never that it was done.",
        reset_amid_command,
    ),
    Case(
        8,
        "kill -9",
        "Target, hub or both are killed while targets stand; then at any instant of commands and hits.",
        "Targets are in their safe pose within 2 s and all back within 15 s; nothing moves twice for one"
        " command, and each hit is in the journal once.",
        kills,
    ),
    Case(
        9,
        "lost answers, repeated commands",
        "The network loses the answer, or says the command again: at once, later, over the next connection,"
        " after the target's reboot.",
        "A command moves its target once.",
        repeated,
    ),
    Case(
        10,
        "past its deadline",
        "The network holds a command back until its time is over.",
        "It is not carried out.",
        past_deadline,
    ),
)
