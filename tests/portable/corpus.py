"""One corpus of lines, each with what the parser makes of it: a message's fields or an error code.

Both runtimes give the same verdict unless an entry states both. MicroPython's own JSON parser takes a good
deal that is no JSON; whatever it makes of that has passed the same schema.
"""

from snyper.shared.socket_protocol import ErrorCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    Verdict = dict[str, object] | str

BAD_JSON = ErrorCode.BAD_JSON
BAD_MESSAGE = ErrorCode.BAD_MESSAGE


class Case:
    """One line and its verdict under each runtime."""

    def __init__(self, line: "str | bytes", cpython: "Verdict", micropython: "Verdict | None" = None) -> None:
        self.line = line.encode() if isinstance(line, str) else line
        self.cpython = cpython
        self.micropython = cpython if micropython is None else micropython

    def __repr__(self) -> str:
        return repr(self.line)


def ping(**fields: object) -> "dict[str, object]":
    """Build the fields of a PING with id 1 and these."""
    found: "dict[str, object]" = {"type": "ping", "id": 1}
    found.update(fields)
    return found


def _with(more: str) -> str:
    """Build the line of a PING with id 1 and `more` text."""
    return '{"type":"ping","id":1' + more + "}"


def _data(text: "str | bytes", cpython: "Verdict", micropython: "Verdict | None" = None) -> Case:
    """Build a PING whose data holds `text` as the value of `x`."""
    value = text.encode() if isinstance(text, str) else text
    return Case(b'{"type":"ping","id":1,"data":{"x":' + value + b"}}", cpython, micropython)


def _x(value: object) -> "dict[str, object]":
    return ping(data={"x": value})


def _nested(levels: int) -> str:
    """Build a PING whose deepest object is at `levels`, the message itself counted."""
    inner = levels - 1
    return _with(',"data":' + '{"x":' * (inner - 1) + "{}" + "}" * (inner - 1))


def _nested_data(levels: int) -> "dict[str, object]":
    data: "dict[str, object]" = {}
    for _ in range(levels - 2):
        data = {"x": data}
    return data


FIELDS = [
    Case(_with(""), ping()),
    Case('{"type":"PING","id":1}', ping()),
    Case('{"type":"Stand_Up","id":1}', {"type": "stand_up", "id": 1}),
    Case('{"type":"later_version_2","id":1}', {"type": "later_version_2", "id": 1}),
    Case(' \t{ "id" : 1 , "type" : "ping" } \r', ping()),
    Case(_with(',"target_id":"t_1"'), ping(target_id="t_1")),
    Case(_with(',"target_id":"A-b.9"'), ping(target_id="A-b.9")),
    Case(_with(',"target_id":"all"'), ping(target_id="all")),
    Case(_with(',"target_id":"group:left"'), ping(target_id="group:left")),
    Case(_with(',"status":"alive"'), ping(status="alive")),
    Case(_with(',"data":{}'), ping(data={})),
    Case(_with(',"byte":5,"extra":[1,{"a":null}]'), ping()),
    Case('{"type":"error"}', {"type": "error"}),
    Case('{"type":"ERROR","status":"error"}', {"type": "error", "status": "error"}),
    # not a message
    Case("{}", BAD_MESSAGE),
    Case("[]", BAD_MESSAGE),
    Case('["type","ping"]', BAD_MESSAGE),
    Case("1", BAD_MESSAGE),
    Case("1.5", BAD_MESSAGE),
    Case('"ping"', BAD_MESSAGE),
    Case("null", BAD_MESSAGE),
    Case("true", BAD_MESSAGE),
    # type
    Case('{"id":1}', BAD_MESSAGE),
    Case('{"type":null,"id":1}', BAD_MESSAGE),
    Case('{"type":1,"id":1}', BAD_MESSAGE),
    Case('{"type":["ping"],"id":1}', BAD_MESSAGE),
    Case('{"type":{},"id":1}', BAD_MESSAGE),
    Case('{"type":true,"id":1}', BAD_MESSAGE),
    Case('{"type":"","id":1}', BAD_MESSAGE),
    Case('{"type":"stand up","id":1}', BAD_MESSAGE),
    Case('{"type":"stand-up","id":1}', BAD_MESSAGE),
    Case('{"type":"ping ","id":1}', BAD_MESSAGE),
    Case('{"type":"ping\u00e9","id":1}', BAD_MESSAGE),
    Case('{"type":"\u212ainematics","id":1}', BAD_MESSAGE),  # a Kelvin sign, whose lower case is an ASCII k
    Case('{"type":"%s","id":1}' % ("a" * 32), {"type": "a" * 32, "id": 1}),
    Case('{"type":"%s","id":1}' % ("a" * 33), BAD_MESSAGE),
    # id
    Case('{"type":"ping"}', BAD_MESSAGE),
    Case('{"type":"ping","id":null}', BAD_MESSAGE),
    Case('{"type":"error","id":null}', BAD_MESSAGE),
    Case('{"type":"ping","id":""}', BAD_MESSAGE),
    Case('{"type":"ping","id":"%s"}' % ("i" * 64), {"type": "ping", "id": "i" * 64}),
    Case('{"type":"ping","id":"%s"}' % ("i" * 65), BAD_MESSAGE),
    Case('{"type":"ping","id":"%s"}' % ("\u00e9" * 64), {"type": "ping", "id": "\u00e9" * 64}),
    Case('{"type":"ping","id":"%s"}' % ("\u00e9" * 65), BAD_MESSAGE),
    Case('{"type":"ping","id":0}', {"type": "ping", "id": 0}),
    Case('{"type":"ping","id":-7}', {"type": "ping", "id": -7}),
    Case('{"type":"ping","id":9007199254740991}', {"type": "ping", "id": 9007199254740991}),
    Case('{"type":"ping","id":9007199254740992}', BAD_MESSAGE),
    Case('{"type":"ping","id":-9007199254740991}', {"type": "ping", "id": -9007199254740991}),
    Case('{"type":"ping","id":-9007199254740992}', BAD_MESSAGE),
    Case('{"type":"ping","id":1.0}', BAD_MESSAGE),
    Case('{"type":"ping","id":1e3}', BAD_MESSAGE),
    Case('{"type":"ping","id":true}', BAD_MESSAGE),
    Case('{"type":"ping","id":[1]}', BAD_MESSAGE),
    Case('{"type":"ping","id":{}}', BAD_MESSAGE),
    # target_id
    Case(_with(',"target_id":null'), BAD_MESSAGE),
    Case(_with(',"target_id":1'), BAD_MESSAGE),
    Case(_with(',"target_id":[]'), BAD_MESSAGE),
    Case(_with(',"target_id":{}'), BAD_MESSAGE),
    Case(_with(',"target_id":false'), BAD_MESSAGE),
    Case(_with(',"target_id":""'), BAD_MESSAGE),
    Case(_with(',"target_id":"a b"'), BAD_MESSAGE),
    Case(_with(',"target_id":"a/b"'), BAD_MESSAGE),
    Case(_with(',"target_id":"\u00e9"'), BAD_MESSAGE),
    Case(_with(',"target_id":"%s"' % ("t" * 32)), ping(target_id="t" * 32)),
    Case(_with(',"target_id":"%s"' % ("t" * 33)), BAD_MESSAGE),
    Case(_with(',"target_id":"group:"'), BAD_MESSAGE),
    Case(_with(',"target_id":"group:a:b"'), BAD_MESSAGE),
    Case(_with(',"target_id":"GROUP:a"'), BAD_MESSAGE),
    Case(_with(',"target_id":"other:a"'), BAD_MESSAGE),
    Case(_with(',"target_id":"group:%s"' % ("g" * 32)), ping(target_id="group:" + "g" * 32)),
    Case(_with(',"target_id":"group:%s"' % ("g" * 33)), BAD_MESSAGE),
    # status
    Case(_with(',"status":null'), BAD_MESSAGE),
    Case(_with(',"status":1'), BAD_MESSAGE),
    Case(_with(',"status":[]'), BAD_MESSAGE),
    Case(_with(',"status":{}'), BAD_MESSAGE),
    Case(_with(',"status":true'), BAD_MESSAGE),
    Case(_with(',"status":""'), BAD_MESSAGE),
    Case(_with(',"status":"Alive"'), BAD_MESSAGE),
    Case(_with(',"status":"two words"'), BAD_MESSAGE),
    Case(_with(',"status":"%s"' % ("s" * 32)), ping(status="s" * 32)),
    Case(_with(',"status":"%s"' % ("s" * 33)), BAD_MESSAGE),
    # data
    Case(_with(',"data":null'), BAD_MESSAGE),
    Case(_with(',"data":[]'), BAD_MESSAGE),
    Case(_with(',"data":"x"'), BAD_MESSAGE),
    Case(_with(',"data":1'), BAD_MESSAGE),
    Case(_with(',"data":false'), BAD_MESSAGE),
    _data("null", _x(None)),
    _data("true", _x(True)),
    _data("false", _x(False)),
    _data('[1,"a",{"b":[]}]', _x([1, "a", {"b": []}])),
]

SYNTAX = [
    Case("", BAD_JSON),
    Case("   ", BAD_JSON),
    Case("ping", BAD_JSON),
    Case("{", BAD_JSON),
    Case("}", BAD_JSON),
    Case('{"type":"ping","id":1', BAD_JSON),
    Case('{"type":"ping","id":', BAD_JSON),
    Case('{"type":"ping","id":1}}', BAD_JSON),
    Case('{"type":"ping","id":1} {}', BAD_JSON),
    Case('{"type":"ping","id":1}x', BAD_JSON),
    Case("{'type':'ping','id':1}", BAD_JSON),
    Case('{type:"ping",id:1}', BAD_JSON),
    Case('{"type":"ping","id":1} // so', BAD_JSON),
    Case('/**/{"type":"ping","id":1}', BAD_JSON),
    Case("\ufeff" + _with(""), BAD_JSON),  # a byte order mark
    Case("\u00a0" + _with(""), BAD_JSON),  # no space of JSON's
    Case("\x00" + _with(""), BAD_JSON),
    _data("nul", BAD_JSON),
    _data("True", BAD_JSON),
    _data("undefined", BAD_JSON),
    # Commas, colons and brackets that are too many, too few or the wrong ones.
    Case('{"type":"ping","id":1,}', BAD_JSON, ping()),
    Case('{,"type":"ping","id":1}', BAD_JSON, ping()),
    Case('{"type":"ping",,"id":1}', BAD_JSON, ping()),
    Case('{"type":"ping" "id":1}', BAD_JSON, ping()),
    Case('{"type" "ping","id" 1}', BAD_JSON, ping()),
    Case('{"type":"ping","id":1]', BAD_JSON, ping()),
    Case('{"type":"ping","id":1:2}', BAD_JSON, BAD_MESSAGE),
    Case('{"type":"ping","id"}', BAD_JSON, BAD_MESSAGE),
    Case(_with("") + "\x00", BAD_JSON, ping()),
    _data("[1,]", BAD_JSON, _x([1])),
    _data("[,1]", BAD_JSON, _x([1])),
    _data("[1,,2]", BAD_JSON, _x([1, 2])),
    _data("[1 2]", BAD_JSON, _x([1, 2])),
    _data("[1:2]", BAD_JSON, BAD_MESSAGE),
    _data("[1}", BAD_JSON, _x([1])),
    _data(",", BAD_JSON, BAD_MESSAGE),
    # Keys that are no strings.
    Case("{1:2}", BAD_JSON, BAD_MESSAGE),
    Case('{"type":"ping","id":1,2:3}', BAD_JSON, BAD_MESSAGE),
    Case('{"type":"ping","id":1,null:3}', BAD_JSON, BAD_MESSAGE),
    Case('{"type":"ping","id":1,[2]:3}', BAD_JSON),
    _data("{1:2}", BAD_JSON, BAD_MESSAGE),
    _data("{true:2}", BAD_JSON, BAD_MESSAGE),
    # A key that stands twice. One that is hidden behind a colon written as an escape is not noticed.
    Case('{"type":"ping","id":1,"id":2}', BAD_MESSAGE),
    Case('{"type":"ping","id":1,"x":1,"x":1}', BAD_MESSAGE),
    Case('{"type":"ping","id":1,"status":"ok","data":{"y":1},"data":{"x":1}}', BAD_MESSAGE),
    _data('{"a":1,"a":1}', BAD_MESSAGE),
    _data('[{"a":1},{"b":":","b":":"}]', BAD_MESSAGE),
    _data('1,"id":2,"x":[]', BAD_MESSAGE),
    _data('{"a":1},"b":{"a":1}', ping(data={"x": {"a": 1}, "b": {"a": 1}})),
    # Colons within strings are no keys.
    _data('"a:b::c"', _x("a:b::c")),
    _data('{"a:b":{"c:":":"}}', _x({"a:b": {"c:": ":"}})),
    _data('"\\u003a"', _x(":")),
    Case('{"type":"ping","id":"a:b"}', {"type": "ping", "id": "a:b"}),
    Case(_with(',"extra":{"d":":"},"more":":"'), ping()),
]

NUMBERS = [
    _data("0", _x(0)),
    _data("-1", _x(-1)),
    _data("1.5", _x(1.5)),
    _data("-2.25e2", _x(-225.0)),
    _data("9007199254740991", _x(9007199254740991)),
    _data("-9007199254740991", _x(-9007199254740991)),
    _data("9007199254740992", BAD_MESSAGE),
    _data("-9007199254740992", BAD_MESSAGE),
    _data("[9007199254740992]", BAD_MESSAGE),
    _data("1" + "0" * 300, BAD_MESSAGE),
    _data("9" * 900, BAD_MESSAGE),
    _data("1e999", BAD_MESSAGE),
    _data("-1e999", BAD_MESSAGE),
    _data('{"y":1e999}', BAD_MESSAGE),
    Case(_with(',"extra":1e999'), BAD_MESSAGE),
    Case(_with(',"extra":9007199254740992'), BAD_MESSAGE),
    Case('{"type":"ping","id":9%s}' % ("9" * 300), BAD_MESSAGE),
    Case('{"type":"ping","id":1e999}', BAD_MESSAGE),
    # CPython's parser takes these for numbers.
    _data("NaN", BAD_MESSAGE, BAD_JSON),
    _data("Infinity", BAD_MESSAGE, BAD_JSON),
    _data("-Infinity", BAD_MESSAGE, BAD_JSON),
    # Leading zeros and bare points are no numbers of JSON's.
    _data("01", BAD_JSON, _x(1)),
    _data("-01", BAD_JSON, _x(-1)),
    _data("1.", BAD_JSON, _x(1.0)),
    _data("1.e2", BAD_JSON, _x(100.0)),
    _data(".5", BAD_JSON),
    _data("+1", BAD_JSON),
    _data("-", BAD_JSON),
    _data("--1", BAD_JSON),
    _data("1-2", BAD_JSON),
    _data("1e", BAD_JSON),
    _data("1.5.5", BAD_JSON),
    _data("0x10", BAD_JSON),
    _data("1_000", BAD_JSON),
]

STRINGS = [
    _data('""', _x("")),
    _data('"a\\"\\\\\\/\\b\\f\\n\\r\\t"', _x('a"\\/\b\f\n\r\t')),
    _data('"\\u00e9"', _x("\u00e9")),
    _data('"\\u0000"', _x("\x00")),
    _data('"\x7f"', _x("\x7f")),
    _data('"h\u00e9 \u4e2d \U0001f3af"', _x("h\u00e9 \u4e2d \U0001f3af")),
    _data('"\uffff"', _x("\uffff")),
    _data('"\U0010ffff"', _x("\U0010ffff")),
    _data('{"\u00e9":1}', _x({"\u00e9": 1})),
    _data('"a', BAD_JSON),
    _data('"\\u12"', BAD_JSON),
    _data('"\\', BAD_JSON),
    # Escapes that JSON has not, and control characters as they are.
    _data('"\\x41"', BAD_JSON, _x("x41")),
    _data('"\\q"', BAD_JSON, _x("q")),
    _data('"a\tb"', BAD_JSON, _x("a\tb")),
    _data('"a\x00b"', BAD_JSON),
    _data('"a\x1fb"', BAD_JSON, _x("a\x1fb")),
    # Surrogates: alone they are no characters; as a pair MicroPython makes no character of them.
    _data('"\\ud800"', BAD_MESSAGE),
    _data('"\\udfff"', BAD_MESSAGE),
    _data('"\\ude00\\ud83d"', BAD_MESSAGE),
    _data('{"\\ud800":1}', BAD_MESSAGE),
    Case(_with(',"extra":"\\ud800"'), BAD_MESSAGE),
    Case('{"type":"ping","id":"\\ud800"}', BAD_MESSAGE),
    Case('{"type":"ping","id":"a\\uDFFFb"}', BAD_MESSAGE),
    Case('{"type":"ping","id":"%s"}' % ("\\ud800" * 64), BAD_MESSAGE),
    Case('{"type":"ping","id":"%s"}' % ("\\ud800" * 65), BAD_MESSAGE),
    Case('{"type":"ping","id":"\\ud800","data":7}', BAD_MESSAGE),
    Case('{"type":"ping","id":"\\ud800","data":{"x":1e999}}', BAD_MESSAGE),
    Case('{"type":"\\ud800","id":"\\ud800"}', BAD_MESSAGE),
    Case('{"type":"ping\\ud800","id":1}', BAD_MESSAGE),
    Case('{"id":"\\ud800"}', BAD_MESSAGE),
    Case('{"type":"error","id":"\\ud800"}', BAD_MESSAGE),
    Case('{"\\ud800":1,"type":"ping","id":1}', BAD_MESSAGE),
    Case(_with(',"target_id":"\\ud800"'), BAD_MESSAGE),
    Case(_with(',"target_id":"group:\\ud800"'), BAD_MESSAGE),
    Case(_with(',"status":"\\ud800"'), BAD_MESSAGE),
    _data('[{"a":["\\ud800"]}]', BAD_MESSAGE),
    _data('[{"\\ud800":[]}]', BAD_MESSAGE),
    Case('{"type":"ping","id":"\\ud83c\\udfaf"}', {"type": "ping", "id": "\U0001f3af"}, BAD_MESSAGE),
    _data('"\\ud83c\\udfaf"', _x("\U0001f3af"), BAD_MESSAGE),
    # Not UTF-8: RFC 3629.
    _data(b'"\x80"', BAD_JSON),
    _data(b'"\xff"', BAD_JSON),
    _data(b'"\xc3"', BAD_JSON),
    _data(b'"\xe2\x82"', BAD_JSON),
    _data(b'"\xf0\x9f\x8e"', BAD_JSON),
    _data(b'"\xc0\x80"', BAD_JSON),  # overlong
    _data(b'"\xc1\xbf"', BAD_JSON),
    _data(b'"\xe0\x80\x80"', BAD_JSON),
    _data(b'"\xe0\x9f\xbf"', BAD_JSON),
    _data(b'"\xf0\x80\x80\x80"', BAD_JSON),
    _data(b'"\xf0\x8f\xbf\xbf"', BAD_JSON),
    _data(b'"\xed\xa0\x80"', BAD_JSON),  # a surrogate
    _data(b'"\xed\xa0\xbc\xed\xbe\xaf"', BAD_JSON),  # CESU-8
    _data(b'"\xf4\x90\x80\x80"', BAD_JSON),  # beyond U+10FFFF
    _data(b'"\xf5\x80\x80\x80"', BAD_JSON),
    _data(b'"\xf8\x88\x80\x80\x80"', BAD_JSON),
    _data(b'"\xed\x9f\xbf\xee\x80\x80"', _x("\ud7ff\ue000")),
    Case(_with("").encode() + b"\xc0\x80", BAD_JSON),
]

DEPTH = [
    Case(_nested(2), ping(data={})),
    Case(_nested(8), ping(data=_nested_data(8))),
    Case(_nested(9), BAD_MESSAGE),
    _data("[[[[[[]]]]]]", _x([[[[[[]]]]]])),
    _data("[[[[[[[]]]]]]]", BAD_MESSAGE),
    Case(_with(',"extra":[[[[[[[]]]]]]]'), ping()),
    Case(_with(',"extra":[[[[[[[[]]]]]]]]'), BAD_MESSAGE),
    _data("[" * 100 + "]" * 100, BAD_MESSAGE),
]

# Refused for something else: the error carries the id back.
IDS_OF_ERRORS = [
    Case('{"type":"ping","id":"mine","data":7}', BAD_MESSAGE),
    Case('{"id":"mine"}', BAD_MESSAGE),
    Case('{"type":"\\ud800","id":"mine"}', BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","\\ud800":1}', BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","data":{"x":"\\ud800"}}', BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","data":{"x":1e999}}', BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","data":{"a":1,"a":2}}', BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","data":%s}' % ('{"x":' * 8 + "1" + "}" * 8), BAD_MESSAGE),
    Case('{"type":"ping","id":"mine","target_id":"a b"}', BAD_MESSAGE),
]

CORPUS = IDS_OF_ERRORS + FIELDS + SYNTAX + NUMBERS + STRINGS + DEPTH
