"""The clock by which kept things grow old, and all times of day that are wrong."""

from pathlib import Path

import pytest

from snyper.system.retention_clock import FILE, RetentionClock

DAY_S = 86_400.0
NOW_S = 1_800_000_000.0


class Computer:
    """A computer whose clocks a test moves, and what keeps something on it."""

    def __init__(self, folder: Path, newest_s: float | None = None) -> None:
        self.path = folder / FILE
        self.true_s = NOW_S
        self.ahead_s = 0.0  # of the time of day
        self.steady_s = 1_000.0
        self.newest_s = newest_s
        self.clock = self.start()

    def start(self) -> RetentionClock:
        self.clock = RetentionClock(
            self.path, lambda: self.newest_s, lambda: self.true_s + self.ahead_s, lambda: self.steady_s
        )
        return self.clock

    def run(self, seconds: float, step_s: float = 600.0) -> None:
        while seconds > 0:
            passed_s = min(seconds, step_s)
            self.true_s += passed_s
            self.steady_s += passed_s
            seconds -= passed_s
            self.clock.update()

    def be_off(self, seconds: float) -> None:
        """Be without power, with a steady clock that begins anew."""
        self.true_s += seconds
        self.steady_s = 5.0
        self.start()

    @property
    def behind_s(self) -> float:
        """Return how far what ages count from is behind the truth."""
        return self.true_s - self.clock.now_s


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


@pytest.mark.slow
def test_a_clock_that_runs_does_not_drift(computer: Computer) -> None:
    for _ in range(200):
        computer.run(DAY_S, 3_000)
        computer.ahead_s += 2.0  # in a day, with a quartz that is slow
        assert 0 <= computer.behind_s + computer.ahead_s < 5
    assert computer.clock.late == []


@pytest.mark.parametrize("ahead_s", [30 * DAY_S, 73 * 365 * DAY_S])
def test_a_clock_that_leaps_for_a_while_makes_nothing_old(
    computer: Computer, ahead_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    computer.run(3 * DAY_S)
    computer.ahead_s = ahead_s
    for restarts in (False, True):
        computer.run(11 * 3600)
        assert computer.behind_s == pytest.approx(0, abs=1)
        assert computer.clock.doubt is not None
        if not restarts:
            computer.be_off(10)
    assert len(caplog.messages) == 2
    assert "days more than are known to have passed: until" in caplog.messages[0]
    computer.ahead_s = 0
    computer.run(10 * DAY_S)
    assert computer.behind_s == pytest.approx(0, abs=1)
    assert computer.clock.doubt is None
    assert computer.clock.late == []


def test_what_was_off_for_long_catches_up_after_a_day(computer: Computer) -> None:
    computer.run(3 * DAY_S)
    computer.be_off(60 * DAY_S)
    computer.run(23 * 3600)
    assert computer.behind_s == pytest.approx(60 * DAY_S, abs=1)
    assert computer.clock.doubt is not None
    computer.run(3 * 3600)
    assert computer.behind_s == pytest.approx(0, abs=1)
    assert computer.clock.doubt is None


def test_what_runs_by_day_alone_is_some_days_behind_and_no_more(computer: Computer) -> None:
    for _ in range(40):
        computer.run(8 * 3600)
        computer.be_off(16 * 3600)
    assert 0 < computer.behind_s < 4 * DAY_S


def test_a_short_stop_is_time_that_has_passed(computer: Computer) -> None:
    computer.run(3600)
    computer.true_s += 290  # and then it is killed
    computer.be_off(20)
    assert computer.behind_s == pytest.approx(0, abs=1)


def test_a_clock_that_is_right_after_days_is_believed_again(computer: Computer) -> None:
    computer.ahead_s = 30 * DAY_S
    computer.run(5 * DAY_S)
    computer.ahead_s = 0
    computer.run(300)
    assert computer.behind_s == pytest.approx(0, abs=1)  # and not ahead
    computer.run(2 * DAY_S)
    computer.ahead_s = 20 * DAY_S
    computer.run(300)
    assert computer.behind_s == pytest.approx(0, abs=1)


def test_what_came_while_the_clock_was_behind_is_as_old_as_it_is(computer: Computer) -> None:
    """Boots of a computer without a battery: each begins in 1970."""
    for _ in range(3):
        computer.run(2 * DAY_S)
        computer.ahead_s = 5.0 - (computer.true_s + 40 * DAY_S)
        computer.be_off(40 * DAY_S)
        stamp_s, came_s = computer.clock._wall_s() + 200, computer.true_s + 200
        computer.run(300)
        assert computer.clock.now_s < stamp_s + DAY_S
        computer.ahead_s = 0
        for _ in range(30):
            computer.run(3600)
            assert computer.clock.came_s(stamp_s) == pytest.approx(came_s, abs=1_300)
    computer.be_off(10)
    assert computer.clock.came_s(stamp_s) == pytest.approx(came_s, abs=1_300)
    assert computer.clock.came_s(came_s) == came_s


def test_the_first_time_of_day_may_be_set(computer: Computer) -> None:
    computer.ahead_s = -30 * DAY_S
    computer.path.unlink()
    computer.start()
    stamp_s, came_s = computer.true_s + computer.ahead_s + 100, computer.true_s + 100
    computer.run(300)
    computer.ahead_s = 0
    computer.run(3 * DAY_S)
    assert computer.clock.came_s(stamp_s) == pytest.approx(came_s, abs=1_300)
    assert computer.behind_s == pytest.approx(0, abs=1)


def test_without_a_file_what_is_kept_says_how_late_it_is(tmp_path: Path) -> None:
    computer = Computer(tmp_path, newest_s=NOW_S - 40 * DAY_S)
    assert computer.behind_s == pytest.approx(40 * DAY_S)
    assert computer.clock.doubt is not None
    computer.run(26 * 3600)
    assert computer.behind_s == pytest.approx(0, abs=1)
    for text in ("", "{}", "[]", '{"running_s": NaN}', computer.path.read_text()[:-20]):
        computer.path.write_text(text)
        computer.newest_s = computer.true_s - 3600
        assert abs(computer.start().now_s - computer.true_s) < 1


def test_a_disk_that_takes_nothing_costs_nothing_but_what_a_restart_knows(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    computer = Computer(tmp_path)
    computer.ahead_s = 30 * DAY_S
    computer.run(3600)
    assert computer.behind_s == pytest.approx(0, abs=1)
