"""Plots, as options for Apache ECharts, which NiceGUI brings along. Their colours do in light and in dark."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from snyper.system.text import harmless

_TEXT = "#868c94"
_LINE = "rgba(134,140,148,0.25)"
_FONT = "Roboto, system-ui, sans-serif"
_ACCENT = "#e8590c"
# Told apart by lightness as well as by hue.
_COLOURS = ["#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#f08c00", "#0c8599", "#c2255c", "#748ffc"]

_BRACES = str.maketrans("{}", "()")

Points = Sequence[tuple[float, float]]


def reactions(by_target: Mapping[str, Points]) -> dict[str, Any]:
    """Build a chart with a point for each hit: when it was (Unix milliseconds), and its reaction time in
    milliseconds.
    """
    return {
        **_base(by_target),
        "xAxis": _time_axis(),
        "yAxis": _axis("value", "ms", min=0),
        "series": [
            {
                "name": _label(name),
                "type": "scatter",
                "symbolSize": 9,
                "symbol": _SYMBOLS[at % len(_SYMBOLS)],
                "data": [list(point) for point in points],
            }
            for at, (name, points) in enumerate(by_target.items())
        ],
    }


_SYMBOLS = ["circle", "rect", "triangle", "diamond", "roundRect", "pin"]


def accuracy(counts: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    """Build a chart with a bar for each target: its name, hits, misses. The first is on top."""
    rows = list(reversed(counts))
    base = _base([])
    return {
        **base,
        "grid": {"left": 8, "right": 56, "top": 8, "bottom": 28, "containLabel": True},
        "tooltip": {**base["tooltip"], "trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": _axis("value", "", min=0, max=100, axisLabel={"color": _TEXT, "formatter": "{value} %"}),
        "yAxis": {
            **_axis("category", ""),
            "data": [_label(name) for name, _, _ in rows],
            "axisLabel": {"color": _TEXT, "fontSize": 13},
        },
        "series": [
            {
                "name": "hit, percent",
                "type": "bar",
                "barMaxWidth": 22,
                "showBackground": True,
                "backgroundStyle": {"color": "rgba(134,140,148,0.16)", "borderRadius": 6},
                "itemStyle": {"color": _ACCENT, "borderRadius": 6},
                "label": {"show": True, "position": "right", "color": _TEXT, "formatter": "{c} %"},
                "data": [
                    round(100 * hits / (hits + misses)) if hits + misses else 0 for _, hits, misses in rows
                ],
            }
        ],
    }


def round_trips(by_name: Mapping[str, Points]) -> dict[str, Any]:
    """Build a chart with a line for each peer: seconds since 1970, round trip in milliseconds."""
    return {
        **_base(by_name),
        "animation": False,
        "xAxis": _time_axis(),
        "yAxis": _axis("value", "ms", min=0),
        "series": [
            {
                "name": _label(name),
                "type": "line",
                "showSymbol": False,
                "lineStyle": {"width": 2, "type": "dashed" if at >= len(_COLOURS) else "solid"},
                "data": [[round(at_s * 1000), round(value, 2)] for at_s, value in points],
            }
            for at, (name, points) in enumerate(by_name.items())
        ],
    }


def detections(by_camera: Mapping[str, Points], from_s: float, until_s: float) -> dict[str, Any]:
    """Build a chart with a bar for each part of a time, a piece of it for each camera: seconds since 1970,
    how many there were.
    """
    base = _base(by_camera)
    return {
        **base,
        "animation": False,
        "tooltip": {**base["tooltip"], "trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {**_time_axis(), "min": round(from_s * 1000), "max": round(until_s * 1000)},
        "yAxis": _axis("value", "", min=0, minInterval=1),
        "series": [
            {
                "name": _label(name),
                "type": "bar",
                "stack": "all",
                "barMaxWidth": 28,
                "data": [[round(at_s * 1000), count] for at_s, count in points],
            }
            for name, points in by_camera.items()
        ],
    }


def describe(by_name: Mapping[str, Points], what: str) -> str:
    """Describe a chart in words, for those who do not see it."""
    parts = [f"{name}: {len(points)}" for name, points in by_name.items()]
    return f"{what}, {time.strftime('%H:%M')}; points: {', '.join(parts) or 'none'}"


def _label(name: str) -> str:
    """Return a name as text and nothing else: to ECharts braces are markup."""
    return harmless(name).translate(_BRACES)


def _base(names: "Mapping[str, Points] | Sequence[str]") -> dict[str, Any]:
    return {
        "color": _COLOURS,
        "backgroundColor": "transparent",
        "textStyle": {"fontFamily": _FONT},
        "animationDuration": 300,
        "grid": {"left": 8, "right": 16, "top": 32, "bottom": 40, "containLabel": True},
        "legend": {
            "bottom": 0,
            "type": "scroll",
            "data": [_label(name) for name in names],
            "textStyle": {"color": _TEXT},
            "itemWidth": 14,
            "itemHeight": 10,
            "pageTextStyle": {"color": _TEXT},
        },
        # Drawn, and not written as HTML, whose style attributes the content security policy refuses.
        "tooltip": {"trigger": "item", "confine": True, "renderMode": "richText"},
    }


def _axis(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "name": name,
        "nameTextStyle": {"color": _TEXT, "align": "right"},
        "axisLabel": {"color": _TEXT},
        "axisLine": {"lineStyle": {"color": _LINE}},
        "axisTick": {"show": False},
        "splitLine": {"lineStyle": {"color": _LINE}},
        **more,
    }


def _time_axis() -> dict[str, Any]:
    # The browser's clock and language say the time; near the ends two labels would overlap.
    return {
        **_axis("time", ""),
        "splitLine": {"show": False},
        "axisLabel": {"color": _TEXT, "hideOverlap": True},
    }
