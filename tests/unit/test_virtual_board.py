"""The virtual board answers as a Pico W does, the same on both runtimes: each check runs on each of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from snyper.boards.board import VIRTUAL_BOARD
from snyper.boards.micropython import MicropythonNotFoundError, find_micropython

CHECKS = '''
import sys
sys.path.insert(0, sys.argv[1])

import time
import machine
import network


def raises(kind, call, *args, **options):
    try:
        call(*args, **options)
    except kind as error:
        return str(error)
    raise AssertionError("raised nothing")


def wait_for(wlan, status):
    """The statuses seen until `status` comes, which must be within 5 s."""
    seen = [wlan.status()]
    deadline_ns = time.time_ns() + 5_000_000_000
    while seen[-1] != status:
        assert time.time_ns() < deadline_ns, seen
        if wlan.status() != seen[-1]:
            seen.append(wlan.status())
    return seen


def station(**air):
    board = machine.VirtualBoard(air=dict(ssid="range", password="long enough", **air))
    machine.use(board)
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    return board, wlan


class Clock:
    """The world's clock for what is around a board, which stands between two questions."""

    ms = 0

    def time_ns(self):
        return self.ms * 1_000_000


def statuses(wlan, *args):
    """The statuses from one millisecond to the next as it joins with `args`, each once, up to a second."""
    network.time = clock = Clock()
    wlan.connect(*args)
    seen = [wlan.status()]
    while clock.ms < 1_000:
        clock.ms += 1
        if wlan.status() != seen[-1]:
            seen.append(wlan.status())
    network.time = time
    return seen


def check_pin():
    led = machine.Pin("LED", machine.Pin.OUT)
    led.on()
    assert led() == machine.Pin("LED").value() == 1
    led.toggle()
    assert led.value() == 0
    machine.Pin("GP3", machine.Pin.OUT, value=1)
    assert machine.Pin(3).value() == 1
    assert machine.current().outputs()["pins"] == {"LED": {"level": 0}, "3": {"level": 1}}
    assert machine.Pin(4, machine.Pin.IN, machine.Pin.PULL_UP).value() == 1


def check_bad_pin():
    for id in (30, -1, None, 1.5):
        assert raises(ValueError, machine.Pin, id) == "invalid pin"
    assert raises(ValueError, machine.Pin, "GP31") == 'unknown named pin "GP31"'
    raises(ValueError, machine.Pin, "LED", machine.Pin.OUT, machine.Pin.PULL_UP)


def check_servo_pulse():
    pwm = machine.PWM(machine.Pin(16))
    assert (pwm.freq(), pwm.duty_ns(), pwm.duty_u16()) == (0, 0, 0)
    pwm.freq(50)
    assert machine.current().outputs()["pwm"]["16"] == {"freq_hz": 0, "duty_ns": 0}
    pwm.duty_ns(1_500_000)
    assert pwm.freq() == 50
    assert abs(pwm.duty_ns() - 1_500_000) < 200  # the counter's step is 306 ns
    pwm.freq(100)
    assert abs(pwm.duty_ns() - 1_500_000) < 200
    assert machine.current().outputs()["pwm"]["16"]["freq_hz"] == 100
    pwm.deinit()
    assert machine.current().outputs()["pwm"]["16"] == {"freq_hz": 0, "duty_ns": 0}


def check_pwm_limits():
    pwm = machine.PWM(16, freq=50, duty_u16=65_535)
    assert pwm.duty_u16() == 65_535
    pwm.duty_ns(40_000_000)
    assert abs(pwm.duty_ns() - 20_000_000) < 200  # no pulse is longer than the period
    assert raises(ValueError, pwm.freq, 7) == "freq too small"
    pwm.freq(8)
    raises(ValueError, machine.PWM, "LED")


def check_pwm_slice_is_shared():
    first, second = machine.PWM(16, freq=50, duty_u16=0), machine.PWM(17, duty_ns=1_000_000)
    assert second.freq() == 50
    second.freq(60)
    assert first.freq() == 60
    first.deinit()
    assert machine.current().outputs()["pwm"]["17"]["freq_hz"] == 0


def check_adc():
    for source in (26, 0, "GP26", machine.Pin(26)):
        adc = machine.ADC(source)
        assert 0 <= adc.read_u16() < 1_000
    assert machine.current().outputs()["adc"]["26"]["samples"] == 4
    assert 13_000 < machine.ADC(machine.ADC.CORE_TEMP).read_u16() < 15_000
    assert raises(ValueError, machine.ADC, 25) == "invalid channel"
    assert raises(ValueError, machine.ADC, machine.Pin(25)) == "Pin doesn't have ADC capabilities"


def check_strike():
    adc = machine.ADC(26)
    machine.current().strike(50_000, 60_000)
    assert adc.read_u16() > 49_000
    assert machine.ADC(27).read_u16() < 1_000


def check_strike_that_is_over():
    adc = machine.ADC(26)
    machine.current().strike(50_000, 0)
    assert adc.read_u16() < 1_000


def check_strike_after_one_that_nobody_sampled():
    adc = machine.ADC(26)
    machine.current().strike(40_000, 0)
    machine.current().strike(50_000, 60_000)
    assert adc.read_u16() > 49_000


def shots(seed, hit_rate):
    shooter = machine.Shooter(seed, hit_rate, (150, 900), 30)
    return [shooter.shoot() for _ in range(1000)]


def check_shooter():
    assert shots(7, 0.5) == shots(7, 0.5) != shots(8, 0.5)
    assert all(shot is None for shot in shots(7, 0.0))
    assert all(150 <= shot <= 900 for shot in shots(7, 1.0))
    assert 400 < len([shot for shot in shots(7, 0.5) if shot is not None]) < 600
    print(shots(7, 0.5)[:20])


def check_shot_at_an_armed_target():
    machine.use(machine.VirtualBoard(hit_rate=1.0, reaction_ms=(10, 20), impact_ms=60_000))
    adc = machine.ADC(26)
    armed_ns = time.time_ns()
    while adc.read_u16() < 40_000:
        assert time.time_ns() - armed_ns < 5_000_000_000
    assert time.time_ns() - armed_ns >= 10_000_000


def check_boards_keep_apart():
    boards = [machine.VirtualBoard(bytes([number] * 8)) for number in range(2)]
    pins, stations = [], []
    for board in boards:
        machine.use(board)
        assert machine.unique_id() == board.unique_id
        pins.append(machine.PWM(machine.Pin(16), freq=50, duty_ns=1_000_000))
        stations.append(network.WLAN(network.STA_IF))
    stations[0].active(True)
    pins[0].duty_ns(2_000_000)
    assert [board.outputs()["pwm"]["16"]["duty_ns"] // 900_000 for board in boards] == [2, 1]
    assert [station.active() for station in stations] == [True, False]
    assert stations[0].config("mac") != stations[1].config("mac")


def check_watchdog():
    raises(ValueError, machine.WDT, 1)
    assert raises(ValueError, machine.WDT, timeout=8389) == "timeout exceeds 8388"
    watchdog = machine.WDT(timeout=8388)
    before_ns = machine.current().watchdog_ns
    while time.time_ns() == before_ns - 8_388_000_000:
        pass
    watchdog.feed()
    assert machine.current().watchdog_ns > before_ns
    assert not hasattr(watchdog, "stop")
    assert not hasattr(watchdog, "deinit")


def check_reset():
    assert machine.reset_cause() == machine.PWRON_RESET
    raises(machine.BoardReset, machine.reset)
    assert not issubclass(machine.BoardReset, Exception)
    assert len(machine.unique_id()) == 8
    assert machine.freq() == 125_000_000


def check_join():
    board, wlan = station()
    assert wlan.status() == 0
    assert statuses(wlan, "range", "long enough") == [1, 2, 3]
    assert wlan.isconnected()
    assert wlan.ifconfig()[0] == wlan.ipconfig("addr4")[0] != "0.0.0.0"
    wlan.disconnect()
    assert (wlan.status(), wlan.isconnected(), wlan.ifconfig()[0]) == (0, False, "0.0.0.0")


def check_join_fails():
    board, wlan = station()
    assert statuses(wlan, "range", "something else") == [1, -3]
    assert statuses(wlan, "nowhere", "long enough") == [1, -2]
    board.set_air({"up": False})
    assert statuses(wlan, "range", "long enough") == [1, -2]
    wlan.active(False)
    raises(OSError, wlan.connect, "range", "long enough")


def check_lost_network_stays_lost():
    board, wlan = station()
    wlan.connect("range", "long enough")
    wait_for(wlan, 3)
    board.set_air({"up": False})
    assert wait_for(wlan, 1) == [1]
    board.set_air({"up": True})
    wlan.status()
    assert wlan.status() == 1
    wlan.connect("range", "long enough")
    wait_for(wlan, 3)


def check_lost_network_comes_back():
    board, wlan = station(rejoins=True)
    wlan.connect("range", "long enough")
    wait_for(wlan, 3)
    board.set_air({"up": False})
    assert wait_for(wlan, 1) == [1]
    board.set_air({"up": True})
    wait_for(wlan, 3)


def check_several_networks():
    networks = [dict(ssid="garage", password=""), dict(ssid="range", password="long enough")]
    board = machine.VirtualBoard(air=dict(networks=networks))
    machine.use(board)
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    for ssid, key, status in (("garage", None, 3), ("range", "wrong word", -3), ("shed", None, -2)):
        wlan.connect(ssid, key)
        wait_for(wlan, status)
    assert [found[0] for found in wlan.scan()] == [b"garage", b"range"]
    board.set_air({"networks": []})
    wlan.connect("anything", "goes")
    wait_for(wlan, 3)
    board.set_air({"networks": networks})
    assert wait_for(wlan, 1) == [1]


def check_no_dhcp():
    board, wlan = station(dhcp=False)
    wlan.connect("range", "long enough")
    wait_for(wlan, 2)
    for _ in range(10):
        time.sleep(0.05)
        assert wlan.status() == 2
    assert not wlan.isconnected()


def check_static_address():
    board, wlan = station(dhcp=False)
    addresses = ("192.168.1.50", "255.255.0.0", "192.168.1.1", "192.168.1.2")
    wlan.ifconfig(addresses)
    wlan.connect("range", "long enough")
    wait_for(wlan, 3)
    assert wlan.ifconfig() == addresses
    assert wlan.ipconfig("addr4") == addresses[:2]
    assert (wlan.ipconfig("dhcp4"), wlan.ipconfig("has_dhcp4")) == (False, False)
    wlan.active(False)
    wlan.active(True)
    wlan.connect("range", "long enough")
    wait_for(wlan, 2)


def check_a_status_that_lies():
    board, wlan = station(lies=True)
    wlan.connect("range", "long enough")
    wait_for(wlan, 3)
    board.set_air({"up": False})
    assert wlan.status() == 3
    assert wlan.isconnected()
    wlan.active(False)
    wlan.active(True)
    wlan.connect("range", "long enough")
    wait_for(wlan, -2)


def check_wifi_is_seen_from_outside():
    board, wlan = station()
    network.country("DE")
    network.hostname("snyper-1")
    wlan.config(pm=network.WLAN.PM_NONE)
    wlan.active(True)
    for _ in range(2):
        wlan.connect("range", "long enough")
        wait_for(wlan, 3)
    wlan.active(False)
    wlan.active(True)
    assert board.outputs()["wifi"] == {
        "joins": 2,
        "activations": 2,
        "ssid": "range",
        "hostname": "snyper-1",
        "country": "DE",
        "pm": network.WLAN.PM_NONE,
    }


def check_wlan_config():
    board, wlan = station()
    wlan.config(pm=network.WLAN.PM_NONE)
    assert wlan.config("pm") == network.WLAN.PM_NONE
    assert len(wlan.config("mac")) == 6
    network.hostname("snyper-1")
    assert network.hostname() == wlan.config("hostname") == "snyper-1"
    raises(ValueError, network.hostname, "x" * 33)
    raises(ValueError, wlan.config, "colour")
    raises(ValueError, wlan.config, colour=1)
    raises(ValueError, wlan.config, "password")  # can be set, but not read
    raises(TypeError, wlan.config)


def check_access_point():
    point = network.WLAN(network.AP_IF)
    assert (point.active(), point.status()) == (False, 0)
    point.config(ssid="range", password="long enough", channel=6)
    point.active(True)
    assert (point.status(), point.config("ssid"), point.config("channel")) == (3, "range", 6)
    assert point.ifconfig()[0] == "192.168.4.1"
    assert (point.isconnected(), point.status("stations")) == (False, [])
    point.config(password="short")
    assert point.status() == 0


globals()[sys.argv[2]]()
'''

NAMES = re.findall(r"^def (check_\w+)", CHECKS, re.MULTILINE)


def run(runtime: str | Path, script: Path, name: str) -> str:
    """What the check prints, once it has passed."""
    result = subprocess.run(
        [runtime, script, VIRTUAL_BOARD, name], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "checks.py"
    path.write_text(CHECKS)
    return path


@pytest.fixture
def micropython() -> Path:
    try:
        return find_micropython()
    except MicropythonNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", NAMES)
def test_on_cpython(script: Path, name: str) -> None:
    run(sys.executable, script, name)


@pytest.mark.parametrize("name", NAMES)
def test_on_micropython(script: Path, micropython: Path, name: str) -> None:
    run(micropython, script, name)


def test_the_shooter_decides_the_same_on_both(script: Path, micropython: Path) -> None:
    shots = run(sys.executable, script, "check_shooter")
    assert shots == run(micropython, script, "check_shooter")
    assert len(shots) > 100
