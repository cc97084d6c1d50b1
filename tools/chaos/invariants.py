"""The promises as invariants of a simulated range, checked at everything that is sent, received or done."""

import json
from ast import literal_eval
from collections.abc import Callable
from functools import partial
from typing import Any

from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode
from tools.chaos.games import GameLedger
from tools.chaos.machines import Board, Disk, HubMachine
from tools.chaos.network import End, Network
from tools.chaos.promises import BrokenPromise, Event, ReportOrder
from tools.chaos.transfers import Transfers
from tools.chaos.virtual_time import Machine

KNOWN_WITHIN_S = 2.0  # that a peer has vanished
SAFE_WITHIN_S = 0.6  # from the loss of the link: a motion's way, and the end of a hit's peak
LOWERED_WITHIN_S = KNOWN_WITHIN_S + 1.0  # by a cease fire: a link that has ended is known, and a motion's way
DIALS_WITHIN_S = 12.0  # a dial that nobody answers, 5 s; a register, 3 s; a pause, 3 s; the motion before it
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 3.0
REPLY_AT_ONCE_S = 0.005  # a command raises its target at once, or never
MAX_TASKS = 40  # of a board; of a hub for each of its connections
CLOCK_SLACK_US = 50  # rounds of the simulated loop between a sample and its mark

_RAISING = ("stand_up", "activate")
_OF_A_FILE = ("offer", "chunk")
_DONE = ("standing", "down", "activated")


class Command:
    """One command. That of a console is known by a number (`tag`) in its data at everybody who sees it, that
    of a game by its id.
    """

    def __init__(self, tag: int | str, word: str) -> None:
        self.tag = tag
        self.word = word
        self.is_repeated = False  # before it was answered: what is refused may be the one, or the other
        self.rises: set[tuple[str, int]] = set()  # targets, each with its boot: it forgets with its power
        self.done_by: set[str] = set()
        self.refused_by: set[str] = set()  # who is said not to have begun it


class _BoardState:
    """The state of one target, as far as it is known."""

    def __init__(self) -> None:
        self.tags: dict[str, int | str] = {}  # of the ids that it has received since it booted
        self.candidates: dict[str, float] = {}  # ids that may raise it, and since when
        self.scheduled: dict[str, None] = {}  # those that wait for their instant
        self.raised_by_game = ""  # its id, if it was a game that has raised it last
        self.dialled_s = 0.0
        self.failures = 0
        self.registered_s: float | None = None
        self.unlinked_s = 0.0
        self.is_lowered = False  # by a command that the hub has sent since its cease fire began
        self.safe_s = 0.0  # when it was last down, away, or free to rise


class Invariants:
    """Watches a range. What is broken first is kept in `broken`, and `on_broken()` is called."""

    def __init__(
        self, network: Network, hub: HubMachine, boards: list[Board], consoles: set[Machine]
    ) -> None:
        self.broken = ""
        self.on_broken: Callable[[], object] = lambda: None
        # Who waits for a report to be sent, to be on the disk, to be acknowledged, or for a part of a file to
        # come: the target, or "" for any.
        self.watchers: dict[str, list[tuple[str, Callable[[], object]]]] = {
            "on_report": [],
            "on_row": [],
            "on_ack": [],
            "on_chunk": [],
        }
        self.reported: list[tuple[str, int, str]] = []  # each that was sent: the target, its boot, the key
        self.trace: list[tuple[float, str, str]] | None = None
        self.commands: dict[int | str, Command] = {}
        # Whether the console has been told that a cease fire holds, and has not asked for its end since.
        self.is_cease_fire = False
        self._lowering: set[str] = set()  # ids of `lay_down` that the hub has sent under one
        self.games = GameLedger()
        self.transfers = Transfers(boards)
        self.on_game_rise: Callable[[Board], object] = lambda board: None  # called when a game has raised it
        self.seen: list[Event] = []  # by the console
        self.hits: list[tuple[str, int]] = []
        self.must: list[tuple[Board, int, int]] = []  # detected: the board, its boot, the peak
        self.may: list[tuple[str, int]] = []
        self._network = network
        self._hub = hub
        self._boards = {board.machine: board for board in boards}
        self._consoles = consoles
        self._states = {board.machine: _BoardState() for board in boards}
        self._order = ReportOrder()
        self._struck_s: dict[int, float] = {}
        self._written: set[str] = set()
        for board in boards:
            board.see_rise = self._on_rise
            board.see_strike = self._on_strike
            board.flash.on_change = partial(self._held, self.transfers.on_change, board)
        hub.disk.on_row = self._on_row
        network.on_written = self._on_written
        network.on_received = self._on_received
        network.on_dial = self._on_dial

    def tell(self, who: str, what: str) -> None:
        """Add to the trace, if there is one."""
        if self.trace is not None:
            self.trace.append((self._now_s(), who, what))

    def fail(self, why: str) -> None:
        """Keep that a promise is broken."""
        if not self.broken:
            self.broken = why
            self.tell("broken", why)
            self.on_broken()

    def _held(self, check: Callable[..., None], *arguments: object) -> None:
        """Call `check`, and keep what it finds broken."""
        try:
            check(*arguments)
        except BrokenPromise as error:
            self.fail(str(error))

    def _wake(self, what: str, target_id: str) -> None:
        for name, callback in list(self.watchers[what]):
            if name in ("", target_id):
                callback()

    def _now_s(self) -> float:
        return self._network.loop.time()

    # --- what travels

    def _on_written(self, end: End, piece: bytes) -> None:
        lines, end.written = _split(end.written + piece)
        for line, attached in lines:
            if not line.startswith((b'{"type":"ping"', b'{"type":"pong"')):
                self._sent(end, line, attached)

    def _on_received(self, end: End, piece: bytes) -> None:
        lines, end.received = _split(end.received + piece)
        for line, _ in lines:
            if not line.startswith((b'{"type":"ping"', b'{"type":"pong"')):
                self._received(end, line)

    def _sent(self, end: End, line: bytes, attached: bytes) -> None:
        message = _parsed(line)
        word = message.get("type", "")
        peer = end.peer.machine if end.peer is not None else end.machine
        if self.trace is not None:
            self.tell(end.machine.name, f"says {word} {message.get('status', '')} to {peer.name}")
        if end.machine in self._boards:
            board = self._boards[end.machine]
            if word in ("hit", "miss"):
                self.reported.append((board.machine.name, board.boot, repr((*end.key, message["id"]))))
                self._wake("on_report", board.machine.name)
            elif word == "reply":
                self._held(self.transfers.on_board_says, board, message)
            elif word in _DONE or word == "error":
                self._on_answer(board, message)
            elif word == "register" and end.peer is not None:
                data = message["data"]
                end.peer.key = end.key = (data["hardware_id"], message["target_id"], data["boot_id"])
        elif end.machine in self._consoles and word in _OF_A_FILE:
            self._held(self.transfers.on_console_says, message, attached)
        elif end.machine is self._hub.machine:
            if word in _RAISING and self.is_cease_fire:
                self.fail(f"the hub has {peer.name} rise while a cease fire holds")
            elif word == "lay_down" and self._hub.hub.router.cease_fire is not None:
                self._lowering.add(message["id"])
            if word == "registered":
                end.is_registered = True
            elif word == "ack":
                if repr((*end.key, message["id"])) not in self._hub.disk.reports:
                    self.fail(f"{message['id']} of {peer.name} is acknowledged, and not on the disk")
                self._wake("on_ack", peer.name)
            elif word == "event":
                data = dict(message["data"])
                event = (data.pop("seq"), data.pop("event"), message.get("target_id", ""), data)
                if not _is_on(self._hub.disk, event):
                    self.fail(f"a console is shown {event}, and it is not on the disk")

    def _received(self, end: End, line: bytes) -> None:
        message = _parsed(line)
        word = message.get("type", "")
        if self.trace is not None:
            self.tell(end.machine.name, f"gets {word} {message.get('status', '')}")
        if end.machine not in self._boards:
            if word == "registered" and end.machine in self._consoles:
                end.is_registered = True
            elif word == "reply" and end.machine in self._consoles:
                self.transfers.on_console_gets(message)
            return
        state = self._states[end.machine]
        if word == "registered":
            end.is_registered = True
            state.registered_s, state.failures = self._now_s(), 0
        elif word in _OF_A_FILE:
            self.transfers.on_board_gets(self._boards[end.machine], message)
            if word == "chunk":
                self._wake("on_chunk", end.machine.name)
        elif word in _RAISING or word == "lay_down":
            data = message.get("data") or {}
            tag = data.get("tag", message["id"])
            self.commands.setdefault(tag, Command(tag, word))
            if message["id"] in self._lowering:
                state.is_lowered = True
            state.tags[message["id"]] = tag
            if "at_us" in data:
                state.scheduled[message["id"]] = None
            elif word in _RAISING:
                state.candidates[message["id"]] = self._now_s()

    # --- commands

    def _on_answer(self, board: Board, message: dict[str, Any]) -> None:
        state = self._states[board.machine]
        tag = state.tags.get(message.get("id", ""))
        if tag is None:
            return
        if message["type"] in _DONE:
            self.commands[tag].done_by.add(board.machine.name)
        else:  # it refuses, or gives up
            state.scheduled.pop(message["id"], None)
            state.candidates.pop(message["id"], None)

    def _on_rise(self, board: Board) -> None:
        state = self._states[board.machine]
        now_s = self._now_s()
        name = board.machine.name
        boot = (name, board.boot)
        if self.is_cease_fire and state.is_lowered:
            self.fail(f"{name} rises while a cease fire holds")
        fresh = [
            message_id
            for message_id, at_s in state.candidates.items()
            if now_s - at_s < REPLY_AT_ONCE_S and boot not in self._command(state, message_id).rises
        ]
        fresh += [
            message_id for message_id in state.scheduled if boot not in self._command(state, message_id).rises
        ]
        self.tell(name, f"rises {[state.tags[message_id] for message_id in fresh]}")
        if not fresh:
            recent = [
                state.tags[message_id]
                for message_id, at_s in state.candidates.items()
                if now_s - at_s < REPLY_AT_ONCE_S
            ]
            self.fail(f"{name} rises, and no command that has not raised it before says so ({recent})")
            return
        command = self._command(state, fresh[0])
        command.rises.add(boot)
        if name in command.refused_by:
            self.fail(f"{name} rises for command {command.tag}, which was said not to be carried out")
        game = self.games.running
        is_by_game = all(isinstance(state.tags[message_id], str) for message_id in fresh)  # and not maybe
        state.raised_by_game = game.game_id if game is not None and is_by_game else ""
        if state.raised_by_game:
            self.on_game_rise(board)

    def _command(self, state: _BoardState, message_id: str) -> Command:
        return self.commands[state.tags[message_id]]

    def begin_cease_fire(self) -> None:
        """Take note that one is asked for: what was lowered under an earlier one may rise until it holds."""
        for state in self._states.values():
            state.is_lowered = False

    def on_result(self, tag: int, target_id: str, ok: bool, status: str, code: str) -> None:
        """Check what a console is told of a command."""
        command = self.commands[tag]
        self.tell("console", f"command {tag} at {target_id}: {'ok' if ok else code} {status}")
        if ok:
            if target_id not in command.done_by:
                self.fail(f"command {tag} is said to be done by {target_id}, which has not said so")
        elif status != "unknown" and code != ErrorCode.SUPERSEDED and not command.is_repeated:
            command.refused_by.add(target_id)
            if any(name == target_id for name, _ in command.rises):
                self.fail(f"command {tag} is refused with `{code}`, and {target_id} has risen for it")

    # --- reports and events

    def _on_strike(self, board: Board, peak: int, is_certain: bool) -> None:
        self.tell(board.machine.name, f"samples {peak}{' and must report it' if is_certain else ''}")
        self._struck_s[peak] = self._now_s()
        if is_certain:
            self.must.append((board, board.boot, peak))
            self.games.owed[board.machine.name, peak] = self._states[board.machine].raised_by_game
        else:
            self.may.append((board.machine.name, peak))

    def _on_row(self, row: tuple[int, str, str, str, str]) -> None:
        seq, event, target_id, text, report = row
        of_a_game = event.startswith("game_")
        self.tell("disk", f"{seq} {event} {target_id} {text if report or of_a_game else ''}")
        data = json.loads(text)
        self._held(self.games.on_event, (seq, event, target_id, data))
        if not report:
            if event == "journal":
                self.fail(f"the journal fails on a sound disk: {text}")
            return
        if report in self._written:
            self.fail(f"the report {report} is counted twice")
        self._written.add(report)
        self._held(self._order.check, literal_eval(report), data)
        if event == "hit":
            self._check_hit(target_id, data)
        self._wake("on_row", target_id)

    def _check_hit(self, target_id: str, data: dict[str, Any]) -> None:
        peak = data["peak"]
        self.hits.append((target_id, peak))
        if peak not in self._struck_s:
            self.fail(f"{target_id} has a hit in the journal that it never sampled: {peak}")
        elif "at_us" in data:
            true_us = self._hub.machine.ns_at(self._struck_s[peak]) // 1000
            off_us = abs(data["at_us"] - true_us)
            if off_us > data["uncertainty_us"] + CLOCK_SLACK_US:
                unsure_us = data["uncertainty_us"]
                self.fail(f"a hit of {target_id} is dated {off_us} µs wrong, and {unsure_us} are said")

    def on_event(self, event: Event) -> None:
        """Check an event that the console was given: it is the next one of those on the disk."""
        rows = self._hub.disk.rows
        at = len(self.seen)
        self.seen.append(event)
        if at >= len(rows) or _event_of(rows[at]) != event:
            there = _event_of(rows[at]) if at < len(rows) else None
            self.fail(f"event {at}: the console saw {event}, the journal has {there}")

    # --- links

    def _on_dial(self, machine: Machine) -> None:
        self.tell(machine.name, "dials")
        if machine not in self._boards:
            return
        state = self._states[machine]
        now_s = self._now_s()
        if state.failures > 1:
            least_s = min(FIRST_PAUSE_S * 2 ** (state.failures - 2), MAX_PAUSE_S) / 2
            if now_s - state.dialled_s < least_s * 0.99:
                self.fail(f"{machine.name} dials again after {now_s - state.dialled_s:.3f} s: too soon")
        state.failures += 1
        state.dialled_s = now_s

    def on_boot(self, board: Board) -> None:
        """Begin anew with a board that boots."""
        self.transfers.on_boot(board)
        state = self._states[board.machine]
        state.tags, state.candidates, state.scheduled = {}, {}, {}
        state.failures = 0
        state.dialled_s = self._now_s()
        state.unlinked_s = self._now_s()

    def check(self) -> None:
        """Check what has to hold at any time: called every few milliseconds."""
        now_s = self._now_s()
        for end in self._network.ends:
            if not end.is_registered:
                continue
            if end.get_write_buffer_size() > MAX_LINE_BYTES:
                self.fail(f"{end.machine.name} writes on, and its peer reads nothing")
            if now_s - end.heard_s > KNOWN_WITHIN_S:
                peer = end.peer.machine.name if end.peer is not None else ""
                self.fail(f"{end.machine.name} has heard nothing of {peer} for {KNOWN_WITHIN_S} s, and stays")
        linked = {end.machine for end in self._network.ends if end.is_registered}
        for machine, board in self._boards.items():
            if board.has_power and board.hardware is not None:
                self._check_board(board, self._states[machine], machine in linked, now_s)
        if self._hub.is_on and self._hub.boots and hasattr(self._hub, "hub"):
            self._check_hub(now_s)

    def _check_board(self, board: Board, state: _BoardState, is_linked: bool, now_s: float) -> None:
        name = board.machine.name
        if not (self.is_cease_fire and is_linked) or board.hardware.is_down():
            state.safe_s = now_s
        elif now_s - state.safe_s > LOWERED_WITHIN_S:
            self.fail(f"{name} has a hub with a cease fire, and is up for {LOWERED_WITHIN_S} s")
        if is_linked:
            state.unlinked_s = now_s
            state.dialled_s = now_s
        elif now_s - state.unlinked_s > SAFE_WITHIN_S and not board.hardware.is_down():
            self.fail(f"{name} has no hub for {now_s - state.unlinked_s:.1f} s, and is not down")
        elif now_s - state.dialled_s > DIALS_WITHIN_S:
            self.fail(f"{name} has no hub, and has not dialled for {DIALS_WITHIN_S:.0f} s")
        if hasattr(board, "session") and not board.session.is_alive():
            self.fail(f"the watchdog of {name} would bite")
        if board.machine.has_more_tasks(MAX_TASKS):
            self.fail(f"{name} has {len(board.machine.tasks())} tasks")

    def _check_hub(self, now_s: float) -> None:
        hub = self._hub.hub
        if not hub.is_alive():
            self.fail("the hub does not attend to its links")
        if self.is_cease_fire and hub.router.cease_fire is None:
            self.fail("the hub has forgotten a cease fire")
        here = {end.peer.machine.name for end in self._network.ends_of(self._hub.machine) if end.peer}
        gone = [peer.target_id for peer in hub.router.registry.connected() if peer.target_id not in here]
        if gone:
            self.fail(f"the hub says that {gone} are here, and has no connection to them")
        ends = self._network.ends_of(self._hub.machine)
        if self._hub.machine.has_more_tasks(MAX_TASKS * (1 + len(ends))):
            self.fail(f"the hub has {len(self._hub.machine.tasks())} tasks for {len(ends)} connections")


def _split(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Split what travels into lines, each with the bytes that follow it; return what is not whole, too."""
    lines = []
    while (end := data.find(b"\n")) >= 0:
        line, after = data[:end], end + 1
        if b'"bytes":' in line:
            after += _parsed(line).get("bytes", 0)
            if len(data) < after:
                break
        lines.append((line, data[end + 1 : after]))
        data = data[after:]
    return lines, data


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _event_of(row: tuple[int, str, str, str, str]) -> Event:
    return (row[0], row[1], row[2], json.loads(row[3]))


def _is_on(disk: Disk, event: Event) -> bool:
    for row in reversed(disk.rows):
        if row[0] <= event[0]:
            return _event_of(row) == event
    return False
