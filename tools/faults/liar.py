"""A hub that lies: it answers as a hub does, but for what it is told to get wrong.

And the commands that ask it, as they are, in this process: what they print, and what they let through.
"""

import asyncio
import copy
import io
import json
import random
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from snyper.cli import calibrate, output
from snyper.cli.main import COMMANDS, app_with
from snyper.client import reconnecting_client  # noqa: F401  # loaded once, before anything is timed
from tools.loopback import HOST

Message = dict[str, Any]

FORGED = "12:00:00 hub: all is well"
_SILENCE_S = 0.05  # after which it hangs up by default: nobody waits for what does not come
_LIMIT_S = 20.0  # of one command

# What no field of the wire is, or is only for some.
WRONG: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    (1 << 53) - 1,
    "",
    "[/]",
    "[bold]x[/red]",
    f"\x1b[2J\x1b]0;title\x07\r\n{FORGED}\n\u202e\u2028\u0085x",
    '=HYPERLINK("http://x","x")',
    "²٣" + "9" * 300,
    "x" * 3_000,
    [],
    [1, "a", None],
    {},
    {"a": [{}]},
)

GAME = {
    "game_id": "g1",
    "game": "quick",
    "title": "Quick",
    "players": ["Ann", "Bob"],
    "scores": [1, 2],
    "done": 1,
    "total": 3,
    "unit": "rounds",
    "turn": "Ann",
    "targets": 2,
    "seed": 7,
    "reason": "",
    "starts_at_us": 5,
}
_SHOT = {"at_us": 5, "uncertainty_us": 3, "gap_us": 2, "dropped": 1}
EVENTS: tuple[Message, ...] = (
    {"event": "registered", "state": "down"},
    {"event": "lost", "reason": "closed", "code": "disconnected", "message": "it has gone"},
    {"event": "service_here", "firmware": "Powermeter, 3 functions"},
    {"event": "service_lost", "reason": "closed", "code": "disconnected", "message": "it has gone"},
    {"event": "duplicate", "message": "rename one"},
    {"event": "state", "state": "armed"},
    {"event": "hit", "reaction_ms": 400, "peak": 9_000, "crosstalk_of": "target_2", **_SHOT},
    {"event": "hit", "reaction_ms": 400, "peak": 9_000, **_SHOT},
    {"event": "miss", "reason": "time_up", "rests_at": 900, **_SHOT},
    {"event": "crosstalk", "hit_seq": 4, "crosstalk_of": "target_2"},
    {"event": "groups", "groups": ["left"]},
    {"event": "cease_fire", "by": "ann", "why": "x", "kept": True, "restored": True, "for_ms": 900},
    {"event": "release", "by": "ann", "held_ms": 900},
    {"event": "journal", "state": "failing", "message": "full", "dropped": 3},
    {"event": "game_started", **{name: GAME[name] for name in GAME if name != "reason"}, "options": {"a": 1}},
    {"event": "game_turn", "game_id": "g1", "player": "Ann"},
    {"event": "game_progress", "game_id": "g1", "done": 1, "total": 3, "unit": "rounds"},
    {
        "event": "game_score",
        "game_id": "g1",
        "player": "Ann",
        "points": 2,
        "total": 3,
        "reaction_ms": 400,
        "text": "well",
        "crosstalk_of": "target_2",
        "score_seq": 4,
    },
    {"event": "game_note", "game_id": "g1", "text": "go on"},
    {"event": "game_target_out", "game_id": "g1", "code": "timeout"},
    {
        "event": "game_over",
        "game_id": "g1",
        "game": "quick",
        "reason": "finished",
        "players": ["Ann", "Bob"],
        "scores": [3, 1],
        "winner": "Ann",
        "duration_ms": 900,
        "seed": 7,
        "results": {"hits": [2, 1], "best_ms": [300, 400], "rounds": 3},
    },
    {"event": "of_tomorrow", "message": "more"},
)
_TIMES = {"round_trip_ms": 1, "round_trip_us": 900}
_PEAKS = {"bin_ms": 10, "samples": 90, "gap_us": 8, "threshold": 9_000, **_TIMES}
_MOVED = {"at_us": 5, "error_us": 40, "uncertainty_us": 9, **_TIMES}


def honest_answers() -> dict[str, list[Message]]:
    """Return what a hub answers to each request, in order; `register` and each event among them."""
    target = {
        "connected": True,
        "state": "armed",
        "groups": ["left"],
        "firmware": "0.1.0",
        "seen_ms_ago": 0,
        "last_error": "duplicate",
        "round_trip_us": 900,
        "uptime_ms": 5_000,
        "dropped": 1,
        "uncertainty_us": 300,
        "heap_free_bytes": 60_000,
        "rests_at": 700,
    }
    service = {"connected": True, "firmware": "Powermeter", "seen_ms_ago": 900, "round_trip_us": 900}
    option = {"name": "rounds", "default": 5, "meaning": "how many", "low": 1, "high": 9, "choices": ["a"]}
    game = {
        "game": "quick",
        "title": "Quick",
        "rules": "hit",
        "min_players": 1,
        "max_players": 8,
        "min_targets": 1,
        "options": [option],
    }
    registered = {
        "protocol": 1,
        "heartbeat_ms": 60_000,
        "dead_after_ms": 180_000,
        "max_line_bytes": 4_096,
        "max_chunk_bytes": 65_536,
        "boot_id": "b",
        "hub_us": 5,
    }
    events = [
        {"type": "event", "id": seq, "target_id": "target_1", "data": {**data, "seq": seq}}
        for seq, data in enumerate(EVENTS, 1)
    ]

    def reply(word: str, status: str, data: Message) -> Message:
        return {"type": word, "target_id": "target_1", "status": status, "data": data}

    held = {"held": True, "by": "ann", "why": "x", "for_ms": 900, "kept": True, "restored": True}
    state = reply("game_state", "running", GAME)
    pong = {"uptime_ms": 5_000, "targets": 2, "hub_us": 9_000_000, "journal": "ok", "state": "down", **_TIMES}
    return {
        "register": [reply("registered", "registered", registered)],
        "list_targets": [
            reply("target", "ok", target),
            {"type": "target", "target_id": "target_2", "data": {**target, "connected": False}},
            reply("targets", "ok", {"count": 2}),
        ],
        "list_services": [
            reply("item", "ok", service),
            {"type": "item", "target_id": "lab2", "data": {**service, "connected": False}},
            reply("reply", "ok", {"count": 2}),
        ],
        "ping": [reply("pong", "alive", pong)],
        "stand_up": [reply("standing", "standing", _MOVED)],
        "lay_down": [reply("error", "unknown", {"code": "timeout", "message": "no answer", **_TIMES})],
        "activate": [reply("result", "armed", _MOVED), reply("activated", "ok", {"ok": 1, "failed": 0})],
        "identify": [reply("identified", "identifying", {"duration_ms": 100, **_TIMES})],
        "configure": [reply("configured", "ok", {"threshold": 9_000, "groups": ["left"], **_TIMES})],
        "listen": [reply("listened", "ok", {**_PEAKS, "bins": [5, 9, 700]})],
        "listen above": [reply("listened", "ok", {**_PEAKS, "bins": [5, 30_000, 800]})],
        "read_trace": [
            reply(
                "trace",
                "ok",
                {
                    "threshold": 9_000,
                    "reaction_ms": 412,
                    "peak": 30_000,
                    "times_us": [-50, 0, 50],
                    "values": [10, 30_000, 20],
                    "next": None,
                    **_TIMES,
                },
            )
        ],
        "read_log": [reply("log", "ok", {"text": "0.003 boot: target 0.1.0\n", "next": None, **_TIMES})],
        "wink": [reply("item", "ok", {"n": 1}), reply("reply", "ok", {"eyes": 2, **_TIMES})],
        "cease_fire": [reply("result", "down", _MOVED), reply("reply", "ok", held)],
        "release": [reply("reply", "ok", {**held, "held": False})],
        "get_cease_fire": [reply("reply", "ok", held)],
        "list_games": [reply("game", "ok", game), reply("games", "ok", {"count": 1})],
        "get_game": [state],
        "start_game": [{**state, "type": "game_started"}, *events],
        "stop_game": [{**state, "type": "game_stopped", "status": "over"}],
        "subscribe": [
            reply("subscribed", "ok", {"seq": 9, "oldest_seq": 1, "log_id": "log"}),
            *events,
        ],
    }


# Each command that asks a hub, and what it asks for.
ASKING: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("targets",), ("register", "list_targets")),
    (("targets", "--json"), ("list_targets",)),
    (("services",), ("register", "list_services")),
    (("services", "--json"), ("list_services",)),
    (("ping", "target_1"), ("ping",)),
    (("stand-up", "target_1", "--in", "1"), ("stand_up",)),
    (("lay-down", "target_1"), ("lay_down",)),
    (("activate", "all", "--json"), ("activate",)),
    (("activate", "all"), ("activate",)),
    (("identify", "target_1"), ("identify",)),
    (("cease-fire", "--why", "x"), ("cease_fire", "list_targets")),
    (("cease-fire", "--release"), ("release",)),
    (("send", "target_1", "wink"), ("wink",)),
    (
        ("calibrate", "target_1", "--yes", "--hits", "1"),
        ("listen", "listen above", "configure", "stand_up", "lay_down"),
    ),
    (("trace", "target_1"), ("read_trace",)),
    (("trace", "target_1", "--json"), ("read_trace",)),
    (("logs", "--target", "target_1"), ("read_log",)),
    (("watch", "--timeout", "0.15"), ("subscribe", "list_targets", "get_game", "get_cease_fire", "ping")),
    (("game", "list"), ("list_games",)),
    (("game", "list", "quick"), ("list_games",)),
    (("game", "start", "quick", "--player", "Ann"), ("start_game", "subscribe")),
    (("game", "start", "quick", "--no-wait"), ("start_game",)),
    (("game", "stop"), ("get_game", "stop_game")),
    (("game", "scores"), ("get_game",)),
)


def lies(answers: Sequence[Message], wrong: Sequence[object] = WRONG) -> Iterator[tuple[str, list[Message]]]:
    """Iterate over the answers with one field wrong: each of them, at any depth, with each `wrong` value, and
    left out. With each comes what is wrong. Wrong events come together, since there may be many of them.
    """
    wrong_events: list[Message] = []
    for number, message in enumerate(answers):
        for path in _paths(message):
            if path in (("id",), ("type",)):
                continue
            for value in (*wrong, _LEFT_OUT):
                one = copy.deepcopy(message)
                _set(one, path, value)
                if message["type"] == "event":
                    wrong_events.append(one)
                    continue
                said = "left out" if value is _LEFT_OUT else repr(value)[:40]
                what = f"{message['type']}: {'.'.join(map(str, path))} is {said}"
                yield what, [*answers[:number], one, *answers[number + 1 :]]
    for at in range(0, len(wrong_events), _TOGETHER):
        some = wrong_events[at : at + _TOGETHER]
        yield f"events {at} to {at + len(some)} of the wrong ones", [*answers[:1], *some]


_LEFT_OUT = object()
_TOGETHER = 50


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from _paths(value[name], (*path, name))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from _paths(value[number], (*path, number))


def _set(message: Any, path: tuple[Any, ...], value: object) -> None:
    for name in path[:-1]:
        message = message[name]
    if value is _LEFT_OUT:
        del message[path[-1]]
    else:
        message[path[-1]] = value


def mutated(line: bytes, rng: random.Random) -> bytes:
    """Return a line with some of its bytes changed, left out, doubled, or put elsewhere."""
    changed = bytearray(line)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(max(1, len(changed)))
        end = at + rng.randrange(1, 12)
        kind = rng.randrange(6)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] = rng.randrange(256)
        elif kind == 1:
            del changed[at:end]
        elif kind == 2:
            changed[at:at] = changed[at:end]
        elif kind == 3:
            changed[at:at] = rng.choice(
                (b'"', b"{", b"]", b"\n", b",", b"9" * 20, b"null", b"\\ud800", b"\xff")
            )
        elif kind == 4:
            digits = list(re.finditer(rb"-?[0-9]+", bytes(changed)))
            if digits:
                one = rng.choice(digits)
                value = rng.choice((b"-1", b"1e999", b"99999999999999999999", b'"1"', b"[]", b"0.5"))
                changed[one.start() : one.end()] = value
        else:
            texts = list(re.finditer(rb'"[^"]*"', bytes(changed)))
            if texts:
                one = rng.choice(texts)
                changed[one.start() : one.end()] = json.dumps(rng.choice(WRONG)).encode()
    return bytes(changed)


class LyingHub:
    """Listens in a thread of its own. `answers` are what it says to each request; `distort` may change each
    line once more before it is sent.
    """

    def __init__(self) -> None:
        self.answers = honest_answers()
        self.distort: Callable[[bytes], bytes] = lambda line: line
        self.silence_s = _SILENCE_S
        self.port = 0
        self.asked: Counter[str] = Counter()  # how often it was asked for each word
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lying hub", daemon=True)

    @contextmanager
    def running(self) -> Iterator["LyingHub"]:
        """Listen until the block ends."""
        self._thread.start()
        server = self._call(asyncio.start_server(self._serve, HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._call(self._close(server))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    def hang_up(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._hang_up)

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        self._hang_up()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                async with asyncio.timeout(self.silence_s):
                    line = await reader.readline()
                if not line:
                    break
                asked: Message = json.loads(line)
                word = asked["type"] + (" above" if "above" in asked.get("data", {}) else "")
                self.asked[word] += 1
                lines = [self._line_of(message, asked) for message in self.answers.get(word, ())]
                writer.write(b"".join(lines))  # one by one asyncio would complain of who hangs up in between
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # who is lied to has gone, or says no more
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _line_of(self, message: Message, asked: Message) -> bytes:
        if message["type"] != "event":
            message = {**message, "id": asked["id"]}
        return self.distort(json.dumps(message).encode()) + b"\n"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: its exit status, what it printed, and what it let through, if anything."""

    status: int
    printed: str
    defect: BaseException | None

    def wrong(self, is_terminal: bool, quotes_lines: bool = False) -> str:
        """Say what is wrong with it; empty for nothing. With `quotes_lines` it shows lines of others."""
        if self.defect is not None:
            return f"{type(self.defect).__name__}: {self.defect}"
        if "Traceback" in self.printed:
            return "it prints a traceback"
        lines = self.printed.splitlines()
        if not quotes_lines and any(line.startswith(FORGED) for line in lines):
            return "a line is forged"
        printed = self.printed.replace("\r\n", "\n")  # as a table for a spreadsheet ends its lines
        if not is_terminal and re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]", printed):
            return f"control characters are printed: {self.printed[:200]!r}"
        if "\x1b]0;" in self.printed or "\u202e" in self.printed:
            return "the terminal does what a peer says"
        return ""


class _Screen(io.TextIOWrapper):
    def __init__(self, is_terminal: bool) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, "utf-8", "backslashreplace", newline="", write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def getvalue(self) -> str:
        self.flush()
        return self._bytes.getvalue().decode()


def carry_out(arguments: Sequence[str], is_terminal: bool = False) -> Outcome:
    """Carry out a `snyper` command in this process, the main thread, and return what became of it."""
    screen = _Screen(is_terminal)
    streams = sys.stdout, sys.stderr
    consoles: list[tuple[Console, bool | None]] = [(output.out, None), (output.err, None)]
    status, defect = 0, None
    try:
        sys.stdout = sys.stderr = screen
        for console, _ in consoles:
            console._force_terminal = is_terminal
        named = [word for word in arguments[:1] if word in COMMANDS]
        result = app_with(named)(list(arguments), standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (click.ClickException, click.Abort):
        status = 2
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        defect = error
    finally:
        sys.stdout, sys.stderr = streams
        for console, forced in consoles:
            console._force_terminal = forced
            with suppress(AttributeError):
                console._live_stack.clear()
    return Outcome(status, screen.getvalue(), defect)


@contextmanager
def hurried() -> Iterator[None]:
    """Have commands wait for no person and no plate that rings on."""
    settle_s, calibrate._SETTLE_S = calibrate._SETTLE_S, 0.0
    try:
        yield
    finally:
        calibrate._SETTLE_S = settle_s
