"""Drawings of the dashboard: the target, icons, sparklines. Inline SVG, coloured by the theme."""

from collections.abc import Sequence
from html import escape

# One drawing for every state: the theme folds the plate, and shows the marks that belong to the state, so
# that a target rises and falls before one's eyes.
TARGET = """
<svg class="figure" viewBox="0 0 160 132" aria-hidden="true" focusable="false">
  <path class="ground" d="M10 120H150"/>
  <g class="mark brackets"><path d="M34 30V16H48M112 16H126V30M126 76V90H112M48 90H34V76"/></g>
  <g class="plate">
    <path class="post" d="M80 84V112"/>
    <circle class="disc" cx="80" cy="53" r="32"/>
    <circle class="ring" cx="80" cy="53" r="21"/>
    <circle class="bull" cx="80" cy="53" r="9"/>
  </g>
  <path class="base" d="M56 120v-6q0-6 6-6h36q6 0 6 6v6z"/>
  <g class="mark rays"><path d="M80 4V13M44 19l6 7M116 19l-6 7M30 53h9M130 53h-9"/></g>
  <g class="mark up"><path d="M128 62l10-10 10 10M128 78l10-10 10 10"/></g>
  <g class="mark down"><path d="M128 52l10 10 10-10M128 68l10 10 10-10"/></g>
  <g class="mark gone"><path d="M116 20a16 16 0 0 1 22 0M121 27a9 9 0 0 1 12 0M112 14l30 22"/></g>
  <g class="mark warning"><path d="M127 14l16 27h-32zM127 23v9M127 36.500v.5"/></g>
</svg>
"""

LOGO = """
<svg viewBox="0 0 32 32" aria-hidden="true" focusable="false"><circle cx="16" cy="14" r="11" fill="none"
stroke="currentColor" stroke-width="3"/><circle cx="16" cy="14" r="4" fill="currentColor"/>
<path d="M16 25v4M9 30h14" stroke="currentColor" stroke-width="3" stroke-linecap="round"/></svg>
"""

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
    'fill="#d9480f"/><circle cx="16" cy="14" r="8.5" fill="none" stroke="#fff" stroke-width="2.5"/>'
    '<circle cx="16" cy="14" r="3" fill="#fff"/><path d="M16 22.500v3M10 26.500h12" stroke="#fff" '
    'stroke-width="2.5" stroke-linecap="round"/></svg>'
)

WIDTH, HEIGHT = 200, 44  # of a sparkline

# 24 by 24, drawn with a stroke of 2.
_ICONS = {
    "range": "M12 3a7 7 0 1 1 0 14a7 7 0 0 1 0-14M12 9a1 1 0 1 1 0 2a1 1 0 0 1 0-2M12 17v4M8 21h8",
    "game": "M7 4h10v6a5 5 0 0 1-10 0zM7 6H4v1a3 3 0 0 0 3 3M17 6h3v1a3 3 0 0 1-3 3M12 15v4M8 20h8",
    "history": "M3 12a9 9 0 1 0 3-6.700L3 8M3 3v5h5M12 7v5l3 2",
    "health": "M3 12h4l2.5-7 5 14 2.5-7h4",
    "services": "M4 4h16v6H4zM4 14h16v6H4zM8 7v.01M8 17v.01M12 7h5M12 17h5",
    "signals": "M3 20V4M3 20h18M6 14c1.500-7 3-7 4.500-1s3 6 4.500-1 3-6 4.500 0",
    "cameras": "M3 7h4l2-3h6l2 3h4v13H3zM12 9.500a4 4 0 1 1 0 8a4 4 0 0 1 0-8",
    "find": "M10.500 4a6.500 6.500 0 1 1 0 13a6.500 6.500 0 0 1 0-13M15.500 15.500L20 20",
    "lock": "M5 11h14v9H5zM8 11V8a4 4 0 0 1 8 0v3M12 15v2",
    "open_lock": "M5 11h14v9H5zM8 11V8a4 4 0 0 1 7.700-1.500M12 15v2",
    "sleep": "M20 14.500A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.500z",
    "stand": "M12 20V5M6 11l6-6 6 6",
    "lay": "M12 4v15M6 13l6 6 6-6",
    "activate": "M12 5a7 7 0 1 1 0 14a7 7 0 0 1 0-14M12 2v5M12 17v5M2 12h5M17 12h5",
    "identify": "M9.5 18h5M10.5 21h3M8.5 14.5a6 6 0 1 1 7 0c-.7.5-1 1-1 1.7V17h-5v-.8c0-.7-.3-1.2-1-1.7",
    "groups": "M4 4h8l8 8-8 8-8-8zM8.5 8.500v.01",
    "plus": "M12 5v14M5 12h14",
    "close": "M6 6l12 12M18 6L6 18",
    "help": "M12 3a9 9 0 1 1 0 18a9 9 0 0 1 0-18M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 17v.01",
    "light": "M12 8a4 4 0 1 1 0 8a4 4 0 0 1 0-8M12 2v2M12 20v2M2 12h2M20 12h2"
    "M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
    "dark": "M20 14.500A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.500z",
    "auto": "M12 3a9 9 0 1 1 0 18a9 9 0 0 1 0-18M12 3v18M12 8h8M12 12h9M12 16h8",
    "sound": "M4 9v6h4l5 4V5L8 9zM16.5 8.500a5 5 0 0 1 0 7M19 6a9 9 0 0 1 0 12",
    "silent": "M4 9v6h4l5 4V5L8 9zM17 9.500l5 5M22 9.500l-5 5",
    "wall": "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
    "play": "M7 4l13 8-13 8z",
    "pause": "M8 5v14M16 5v14",
    "minus": "M5 12h14",
    "stop": "M6 6h12v12H6z",
    "trash": "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
    "earlier": "M15 5l-7 7 7 7",
    "later": "M9 5l7 7-7 7",
    "record": "M12 5a7 7 0 1 1 0 14a7 7 0 0 1 0-14",
    "download": "M12 4v11M7 11l5 5 5-5M4 20h16",
    "log": "M6 3h8l5 5v13H6zM14 3v5h5M9 13h7M9 17h5",
    "leave": "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
    "shuffle": "M4 7h3l9 10h4M4 17h3l2.5-2.800M13.5 9.800L16 7h4M18 5l2 2-2 2M18 15l2 2-2 2",
    "lost": "M5 5l14 14M8.5 15.5a5 5 0 0 1 7 0M5 12a10 10 0 0 1 4-2.4M19 12a10 10 0 0 0-5-2.7M12 19v.01",
}


def icon(name: str) -> str:
    """Draw an icon as wide as the text around it is high."""
    attributes = 'class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"'
    return f'<svg {attributes}><path d="{_ICONS[name]}"/></svg>'


def sparkline(values: Sequence[int], label: str) -> str:
    """Draw the last values as a line, the newest on the right, over a baseline of zero."""
    line = points(values)
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><polygon points="0,{HEIGHT} {line} {WIDTH},{HEIGHT}"/>'
        f'<polyline points="{line}"/></svg>'
    )


def points(values: Sequence[int]) -> str:
    """Return the points of such a line, of which two make the first."""
    if len(values) < 2:
        return ""
    # A single outlier must not flatten all the rest: the scale ends at four times the median.
    top = max(1, 5 * min(max(values), 4 * sorted(values)[len(values) // 2]) // 4)
    step = WIDTH / (len(values) - 1)
    return " ".join(
        f"{at * step:.1f},{HEIGHT - 2 - (HEIGHT - 6) * min(value, top) / top:.1f}"
        for at, value in enumerate(values)
    )
