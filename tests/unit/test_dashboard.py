"""The dashboard without a browser or a hub: what it knows, who may guess, what it draws."""

import ast
import asyncio
import functools
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from snyper.client import Event, HubStatus, TargetInfo
from snyper.client.labels import AWAY, STATE_WORDS, state_word
from snyper.client.range_model import SHOTS
from snyper.dashboard import charts, drawings, widgets
from snyper.dashboard.faults import TokenBucket, log_fault
from snyper.dashboard.game_page import own_results
from snyper.dashboard.health_page import jitter_us, needs_attention
from snyper.dashboard.model import SAMPLES, Model
from snyper.dashboard.painter import ROUND_S, Painter, record_click
from snyper.dashboard.units import split_unit
from snyper.device.serving.connections import Connection, Connections
from snyper.device.serving.throttle import FORGET_S, MAX_ADDRESSES, LoginThrottle
from snyper.system import steady

FREE_GUESSES, MAX_WAIT_S = 5, 300.0

STARTED: dict[str, object] = {
    "game_id": "g1",
    "game": "quick",
    "players": ["Anna", "Bert"],
    "seed": 7,
    "targets": 3,
    "unit": "rounds",
    "total": 4,
    "starts_at_us": 5_000_000,
}


def info(
    target_id: str = "a", *, connected: bool = True, seen_ms_ago: int = 0, dropped: int = 0
) -> TargetInfo:
    return TargetInfo(target_id, connected, "down", ["left"], "0.1.0", seen_ms_ago, 400, dropped=dropped)


def told(model: Model, *events: tuple[str, str, dict[str, object]], is_news: bool = True) -> Model:
    for seq, (event, target_id, data) in enumerate(events, 1):
        model.record_event(Event(seq, event, target_id, data), 100.0, is_news=is_news)
    return model


# --- the model


def test_how_long_the_hub_was_away() -> None:
    model = Model("hub:8081")
    model.hub_lost("nothing listens there", 10.0)
    model.hub_lost("nothing listens there", 11.0)  # as at each try
    assert (model.online, model.since_s, list(model.hub_outages)) == (False, 10.0, [(10.0, None)])
    model.hub_found("boot 1", 12.0)
    assert (model.online, model.since_s, list(model.hub_outages)) == (True, 12.0, [(10.0, 12.0)])
    model.record_targets([info()], 13.0)
    model.hub_lost("the connection broke off", 20.0)
    assert "a" in model.targets  # shown as what was known last
    model.hub_found("boot 1", 21.0)
    assert "a" in model.targets
    model.hub_lost("the connection broke off", 30.0)
    model.hub_found("boot 2", 31.0)
    assert model.targets == {}
    assert list(model.hub_outages) == [(10.0, 12.0), (20.0, 21.0), (30.0, 31.0)]


def test_the_hubs_clock_is_counted_on() -> None:
    model = Model("hub:8081")
    assert model.hub_us(50.0) is None
    model.record_status(HubStatus(1, 1, 1_000_000, 300), 100.0, 50.0)
    assert model.hub_us(52.5) == 3_500_000


def test_how_long_a_target_was_away() -> None:
    model = Model("hub:8081")
    model.record_targets([info("a"), info("b")], 100.0)
    told(model, ("lost", "a", {}))
    assert model.targets["a"].state == "away"
    model.record_targets([info("a", connected=False, seen_ms_ago=5_000), info("b")], 105.0)
    assert model.targets["a"].away_s(110.0) == 10.0
    model.record_targets([info("a"), info("b")], 112.0)
    assert (model.targets["a"].away_s(200.0), list(model.targets["a"].outages)) == (12.0, [(100.0, 112.0)])
    model.record_targets([info("b")], 120.0)
    assert list(model.targets) == ["b"]


def test_round_trips_are_kept_for_a_while_and_only_of_who_is_here() -> None:
    model = Model("hub:8081")
    for second in range(SAMPLES + 10):
        model.record_targets([info("a"), info("b", connected=False)], float(second))
    assert len(model.targets["a"].round_trips_us) == SAMPLES
    assert model.targets["a"].round_trips_us[0] == (10.0, 400)
    assert not model.targets["b"].round_trips_us


def test_what_happens_to_a_target() -> None:
    model = Model("hub:8081")
    model.record_targets([info("a")], 100.0)
    told(
        model,
        ("state", "a", {"state": "armed"}),
        ("hit", "a", {"reaction_ms": 321, "peak": 40_000}),
        ("groups", "a", {"groups": ["far", "left"]}),
        ("hit", "unheard-of", {"reaction_ms": 1, "peak": 1}),
    )
    target = model.targets["a"]
    assert (target.state, target.shots, target.last_shot) == ("armed", 1, "hit")
    assert (target.last_reaction_ms, target.last_peak) == (321, 40_000)
    model.refresh()
    assert model.overview().groups == {"far": ["a"], "left": ["a"]}
    told(model, ("miss", "a", {"reason": "time_up"}), is_news=False)
    assert target.shots == 1
    told(model, ("hit", "a", {"reaction_ms": 303, "peak": 9, "crosstalk_of": "b"}))
    assert (target.shots, target.last_shot) == (2, "crosstalk")
    told(model, ("hit", "a", {"reaction_ms": 303, "peak": 9}), ("crosstalk", "a", {"crosstalk_of": "b"}))
    assert (target.shots, target.last_shot) == (4, "crosstalk")


def test_how_many_of_those_that_are_meant_are_here() -> None:
    model = Model("hub:8081")
    model.record_targets([info("a"), info("b"), info("c", connected=False)], 100.0)
    counts = {name: model.connected(name) for name in ("all", "group:left", "group:right", "a", "c", "d")}
    assert counts == {"all": 2, "group:left": 2, "group:right": 0, "a": 1, "c": 0, "d": 0}


def many(model: Model, *states: str) -> list[str]:
    """Have the hub list targets in these states, in which `away` is one; return their names."""
    found = [
        TargetInfo(f"t{number}", state != "away", state, [], "0.1.0", 0, 400)
        for number, state in enumerate(states)
    ]
    model.record_targets(found, 100.0)
    return [one.target_id for one in found]


def test_those_come_first_that_a_person_wants_to_see() -> None:
    model = Model("hub:8081")
    many(model, "away", "down", "standing", "down", "fault", "armed")
    overview = model.overview()
    assert overview.names == ["t0", "t1", "t2", "t3", "t4", "t5"]
    assert overview.ranked == ["t4", "t2", "t5", "t1", "t3", "t0"]
    assert (overview.here, overview.away, overview.up) == (5, ["t0"], ["t2", "t4", "t5"])
    assert model.pick(overview.ranked, [], 4) == ["t1", "t2", "t4", "t5"]


def test_a_card_stays_until_one_comes_that_matters_more() -> None:
    model = Model("hub:8081")
    many(model, *["down"] * 6)
    shown = model.pick(model.overview().ranked, [], 3)
    assert shown == ["t0", "t1", "t2"]
    many(model, *["down"] * 5, "standing")
    shown = model.pick(model.overview().ranked, shown, 3)
    assert shown == ["t0", "t1", "t5"]
    many(model, *["down"] * 6)
    assert model.pick(model.overview().ranked, shown, 3) == shown
    many(model, *["down"] * 5)  # it is not on the hub's list any more
    assert model.pick(model.overview().ranked, shown, 3) == ["t0", "t1", "t2"]


def test_what_happens_is_in_the_overview_once_it_is_refreshed() -> None:
    model = Model("hub:8081")
    many(model, "down", "down")
    before = model.overview()
    told(model, ("state", "t1", {"state": "standing"}))
    assert model.overview() is before
    model.refresh()
    assert model.overview().states == {"down": 1, "standing": 1}
    after = model.overview()
    model.refresh()
    assert model.overview() is after


def test_a_game_from_its_start_to_its_end() -> None:
    model = told(Model("hub:8081"), ("game_started", "", STARTED))
    score: dict[str, object] = {"game_id": "g1", "player": "Bert", "points": 30, "total": 30}
    for _ in range(SHOTS + 2):
        told(model, ("game_score", "a", {**score, "reaction_ms": 300}))
    told(model, ("game_target_out", "b", {"game_id": "g1", "code": "timeout"}))
    told(model, ("game_note", "", {"game_id": "g0", "text": "of another game"}))
    assert len(model.shots) == SHOTS
    assert model.shots[0].reaction_ms == 300
    assert model.note == "b is lost, the game goes on without it"
    results = {"best_ms": [None, 282], "hits": [0, 8], "level": 3, "odd": [1]}
    over: dict[str, object] = {"reason": "finished", "scores": [0, 30], "winner": "Bert", "results": results}
    told(model, ("game_over", "", {"game_id": "g1", **over}))
    assert (model.winner, model.game.status) == ("Bert", "over")
    assert own_results(model, "Bert") == "best 282 ms · 8 hits"
    assert own_results(model, "Anna") == "0 hits"
    model.results = {"rounds_won": [1, 2], "level": [1, 2], "hits": [1, 0], "best_ms": [300, None]}
    assert own_results(model, "Anna") == "1 round won · level 1 · 1 hit · best 300 ms"
    assert own_results(model, "Bert") == "2 rounds won · level 2 · 0 hits"
    told(model, ("game_started", "", {**STARTED, "game_id": "g2"}))
    assert (model.winner, model.results, model.note, list(model.shots)) == ("", {}, "", [])


def test_a_page_that_fails_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    model = Model("hub:8081")
    seen: list[Event | None] = []

    def fails(event: Event | None) -> None:
        raise RuntimeError("no browser")

    model.listen(fails)
    stop = model.listen(seen.append)
    model.changed()
    assert seen == [None]
    assert "could not be drawn" in caplog.text
    stop()
    stop()
    model.changed()
    assert seen == [None]


# --- guesses of the password


def test_who_has_all_addresses_of_a_network_guesses_no_more() -> None:
    throttle = LoginThrottle(FREE_GUESSES, MAX_WAIT_S)
    waits = [guess(throttle, 100.0, address=f"2001:db8::{number:x}") for number in range(FREE_GUESSES + 1)]
    assert waits[-1] > 0
    assert guess(throttle, 100.0, address="2001:db8:0:1::1") == 0.0


def guess(throttle: LoginThrottle, now_s: float, right: bool | None = False, address: str = "a") -> float:
    """Guess once; return the wait that stood before it."""
    wait_s = throttle.begin(address, now_s)
    if not wait_s:
        throttle.end(address, right)
    return wait_s


def test_each_wrong_guess_beyond_a_few_doubles_the_wait() -> None:
    throttle = LoginThrottle(FREE_GUESSES, MAX_WAIT_S)
    assert [guess(throttle, 100.0) for _ in range(FREE_GUESSES)] == [0.0] * FREE_GUESSES
    now_s, waits = 100.0, []
    for _ in range(12):
        waits.append(guess(throttle, now_s))
        now_s += waits[-1]
        assert guess(throttle, now_s) == 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]


def test_guesses_that_have_begun_count_before_they_are_judged() -> None:
    throttle = LoginThrottle(FREE_GUESSES, MAX_WAIT_S)
    begun = [throttle.begin("a", 100.0) for _ in range(200)]
    assert begun.count(0.0) == FREE_GUESSES
    throttle.end("a", None)  # one that broke off was none
    assert throttle.begin("a", 100.0) == 0.0
    assert throttle.begin("a", 100.0) > 0.0


def test_nobodys_guesses_lock_another_address_out() -> None:
    throttle = LoginThrottle(FREE_GUESSES, MAX_WAIT_S)
    for number in range(MAX_ADDRESSES + 1_000):
        for _ in range(FREE_GUESSES):
            guess(throttle, 100.0, address=f"stranger {number}")
    assert guess(throttle, 100.0, True, "owner") == 0.0
    assert len(throttle) <= MAX_ADDRESSES


def test_the_right_password_ends_the_wait() -> None:
    throttle = LoginThrottle(FREE_GUESSES, MAX_WAIT_S)
    for _ in range(FREE_GUESSES):
        guess(throttle, 100.0)
    assert guess(throttle, 101.0, True) == 0.0
    assert [guess(throttle, 101.0) for _ in range(FREE_GUESSES)] == [0.0] * FREE_GUESSES
    assert guess(throttle, 101.0) == 1.0
    assert [guess(throttle, 101.0 + FORGET_S + 2.0) for _ in range(2)] == [0.0] * 2  # a new day


# --- connections


class Peers:
    """Connections, with a clock and who was ended."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self.connections = Connections(most, most_of_address)
        self.ended: list[str] = []
        self.now_s = 0.0

    def connect(self, name: str, address: str, *, serves: bool = False) -> bool:
        self.now_s += 1
        connection = Connection(address, lambda: self.ended.append(name), self.now_s)
        is_admitted = self.connections.admit(connection)
        if serves:
            connection.waits_since_s = None
        return is_admitted


def test_who_sends_nothing_keeps_nobody_out() -> None:
    peers = Peers(most=6, most_of_address=3)
    assert all(peers.connect(name, "a") for name in ("a1", "a2", "a3", "a4"))
    assert peers.ended == ["a1"]  # its own address has too many
    assert all(peers.connect(name, "b") for name in ("b1", "b2", "b3"))
    assert peers.connect("c1", "c", serves=True)
    assert peers.ended == ["a1", "a2"]  # there are too many in all
    assert len(peers.connections) == 6


def test_who_is_served_keeps_the_place() -> None:
    peers = Peers(most=4, most_of_address=2)
    for address in ("a", "b"):
        assert peers.connect("1", address, serves=True)
        assert peers.connect("2", address, serves=True)
    assert not peers.connect("3", "a")
    assert not peers.connect("1", "c")
    assert peers.ended == []


def test_a_bucket_lets_through_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    assert [bucket.take(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(100.2) for _ in range(3)] == [True] * 2 + [False]


def test_a_fault_is_a_line_without_the_words_of_who_caused_it(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        try:
            raise ValueError("\n12:00:00 hub: all is well")
        except ValueError as error:
            log_fault("a page failed", error)
    assert "all is well" not in caplog.text
    assert "a page failed (ValueError in " in caplog.text
    assert 1 <= len(caplog.records) <= 6


# --- drawing


async def test_a_view_is_drawn_once_and_that_of_who_clicks_first() -> None:
    painter = Painter(lambda: None)
    drawn: list[str] = []
    done = asyncio.Event()
    views = {name: functools.partial(drawn.append, name) for name in ("one", "two", "used")}

    def fails() -> None:
        raise RuntimeError("no browser")

    for _ in range(100):
        painter.mark(fails, "page 0")
        for name, view in views.items():
            painter.mark(view, name)
    painter.mark(done.set, "last")
    record_click("used")
    async with asyncio.timeout(5):
        await done.wait()
    assert drawn == ["used", "one", "two"]


async def test_a_view_is_drawn_once_a_round_however_often_it_is_marked() -> None:
    rounds: list[list[str]] = []
    painter = Painter(lambda: rounds.append([]))
    done = asyncio.Event()

    def view() -> None:
        rounds[-1].append("view")
        if len(rounds) < 3:
            for _ in range(100):
                painter.mark(view, "page")
        else:
            done.set()

    painter.mark(view, "page")
    began_s = steady.now_s()
    async with asyncio.timeout(5):
        await done.wait()
    assert rounds == [["view"]] * 3
    assert steady.now_s() - began_s >= 2 * ROUND_S


# --- what comes from others is text

DASHBOARD = Path(widgets.__file__).parent
PARSING = {"props", "style", "run_javascript", "add_head_html", "html"}  # of NiceGUI, or of the browser
OURS = {  # a number, a word of a table of ours, a drawing of ours, files of ours
    *(("game_page.py", "style"), ("history_page.py", "style"), ("game_page.py", "run_javascript")),
    *(("layout.py", "run_javascript"), ("layout.py", "add_head_html"), ("widgets.py", "html")),
}


@pytest.mark.parametrize("file", sorted(DASHBOARD.glob("*.py")), ids=lambda file: file.name)
def test_only_constants_are_parsed(file: Path) -> None:
    found = [
        f"{node.lineno}: {node.func.attr}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PARSING
        and (file.name, node.func.attr) not in OURS
        and not all(isinstance(argument, ast.Constant) for argument in node.args)
    ]
    assert found == []


# --- charts, and words


def test_accuracy_is_in_percent_with_the_first_on_top() -> None:
    chart = charts.accuracy([("a", 1, 2), ("b", 0, 0), ("c", 3, 0)])
    assert chart["yAxis"]["data"] == ["c", "b", "a"]
    assert chart["series"][0]["data"] == [100, 0, 33]


def test_a_series_for_each_target() -> None:
    chart = charts.reactions({"a": [(1_000, 300)], "b": []})
    assert [(series["name"], series["data"]) for series in chart["series"]] == [
        ("a", [[1_000, 300]]),
        ("b", []),
    ]
    assert chart["legend"]["data"] == ["a", "b"]
    many = charts.round_trips({f"target_{number}": [(1.5, 0.1234)] for number in range(9)})
    assert many["series"][0]["data"] == [[1_500, 0.12]]
    assert [series["lineStyle"]["type"] for series in many["series"]] == ["solid"] * 8 + ["dashed"]


def test_a_name_in_a_chart_is_no_markup() -> None:
    name = "{a|b}\u202e"
    for chart in (charts.reactions({name: [(1, 2)]}), charts.round_trips({name: []})):
        assert [chart["series"][0]["name"], *chart["legend"]["data"]] == ["(a|b)"] * 2
    assert charts.accuracy([(name, 1, 1)])["yAxis"]["data"] == ["(a|b)"]


def test_a_list_that_is_cut_says_so() -> None:
    assert [widgets.plural(count, "game") for count in (0, 1, 2, 5_000)] == [
        *("0 games", "1 game", "2 games", "5,000 games"),
    ]
    assert (widgets.shown_of(60, 61, "target"), widgets.shown_of(60, 60, "target")) == (
        "60 of 61 targets",
        "",
    )


@pytest.mark.parametrize("state", [*STATE_WORDS, "dancing"])
def test_a_state_has_the_word_that_it_has_everywhere(state: str) -> None:
    model = Model("hub:8081")
    model.record_targets([info("a", connected=state != AWAY)], 1.0)
    told(model, ("state", "a", {"state": state}))
    assert widgets.shown_state(model.targets["a"], online=True) == state_word(state)
    assert widgets.shown_state(model.targets["a"], online=False) == "not known"


def test_a_chart_is_described_in_words() -> None:
    assert charts.describe({"a": [(1, 2)], "b": []}, "Round trips").endswith("points: a: 1, b: 0")
    assert charts.describe({}, "Round trips").endswith("points: none")


def test_jitter() -> None:
    assert jitter_us([]) is None
    assert jitter_us([400]) is None
    assert jitter_us([400, 600, 500]) == 150


def test_who_needs_to_be_looked_at() -> None:
    model = Model("hub:8081")
    model.record_targets([info("a"), info("b", connected=False), info("c", dropped=1)], 1.0)
    told(model, ("state", "a", {"state": "fault"}))
    assert all(needs_attention(target) for target in model.targets.values())
    model.record_targets([info("a")], 2.0)
    assert not needs_attention(model.targets["a"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("duration_ms", ("Duration", "ms")),
        ("first_up_ms", ("First up", "ms")),
        ("rounds", ("Rounds", "")),
        ("ms", ("Ms", "")),
    ],
)
def test_a_name_and_its_unit(name: str, words: tuple[str, str]) -> None:
    assert split_unit(name) == words


def test_a_sparkline_of_any_length_and_of_no_text_from_the_wire() -> None:
    for trips in ([], [5], [5, 5], list(range(SAMPLES))):
        assert "<svg" in drawings.sparkline(trips, "Round trips")
    assert "<script" not in drawings.sparkline([1, 2], '"><script>')
