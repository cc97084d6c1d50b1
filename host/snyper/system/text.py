"""Text of others made safe to show: it does nothing to a terminal, and looks like nothing of ours. Pure."""

import json

from snyper.shared.names import INVISIBLE

# What would move the cursor, set a colour or the window's title, or turn or hide what is around it: boards
# and people may say such things too. Left out, and no sign in their place: in a table they are nothing wide.
_CONTROLS = {
    code: None for first, last in INVISIBLE for code in range(first, last + 1) if chr(code) not in "\n\t"
}
_EXCEL_LIKE = ("=", "+", "-", "@", "\t", "\n")  # a cell that begins so is a formula to a spreadsheet
_JSON_CONTROLS = {
    code: json.dumps(chr(code))[1:-1] for code in _CONTROLS if code > 0x7E
}  # JSON has the others


def harmless(text: str) -> str:
    """Strip `text` of control characters (ECMA-48) and Unicode's invisible ones, but for the ends of lines,
    tabs, and what joins letters and emoji.
    """
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Make `harmless` text in which no line ends: nobody else begins one of ours."""
    return harmless(" ".join(text.splitlines())).rstrip()


def table_cell(text: str) -> str:
    """Make text for a cell of a table: `one_line`, and no formula to a spreadsheet."""
    line = one_line(text)
    return "'" + line if text.startswith(_EXCEL_LIKE) or line.startswith(_EXCEL_LIKE) else line


def json_text(value: object) -> str:
    """Encode a line of JSON without its end, in which every control character and every invisible one is
    escaped.
    """
    return json.dumps(value, ensure_ascii=False).translate(_JSON_CONTROLS)


def span(seconds: float) -> str:
    """Format a time in the units that matter: 7.5 s, 3 min, 5 h 12 min, 3 d 4 h."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 2 * 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24:,} d {hours % 24} h"
