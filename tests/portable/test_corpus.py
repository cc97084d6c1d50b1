"""The corpus: each line's verdict, alone and in a stream."""

from snyper.shared.runtime import MICROPYTHON
from snyper.shared.socket_protocol import MIN_LINE_BYTES, MessageLineParser, ProtocolError, SocketMessage
from tests.portable.corpus import CORPUS, DEPTH, FIELDS, IDS_OF_ERRORS, NUMBERS, STRINGS, SYNTAX
from tests.portable.support import equal, fields_of, raises, verdicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.portable.corpus import Case, Verdict


def test_fields() -> None:
    _check(FIELDS)


def test_syntax() -> None:
    _check(SYNTAX)


def test_numbers() -> None:
    _check(NUMBERS)


def test_strings() -> None:
    _check(STRINGS)


def test_depth() -> None:
    _check(DEPTH)


def test_whatever_was_taken_can_be_sent() -> None:
    for case in CORPUS:
        if not isinstance(_due(case), str):
            message = SocketMessage.from_line(case.line)
            again = SocketMessage.from_line(message.to_line())
            assert equal(fields_of(again), fields_of(message)), case


def test_whatever_was_refused_can_be_told() -> None:
    for case in CORPUS:
        if isinstance(_due(case), str):
            error = raises(str(_due(case)), SocketMessage.from_line, case.line)
            line = error.to_message().to_line()
            assert len(line) <= MIN_LINE_BYTES, case  # to any peer
            told = SocketMessage.from_line(line)
            assert told.id == error.id, case
            assert (told.data or {})["code"] == error.code, case


def test_an_error_has_the_id_wherever_it_can_be_read() -> None:
    for case in IDS_OF_ERRORS:
        error = raises(str(_due(case)), SocketMessage.from_line, case.line)
        assert error.id == "mine", case


def test_the_whole_corpus_in_one_stream() -> None:
    parser = MessageLineParser()
    for case in CORPUS:
        line = case.line + b"\r\n"
        half = len(line) // 2
        found = verdicts(parser.feed(line[:half])) + verdicts(parser.feed(line[half:]))
        assert equal(found, [_due(case)] if case.line.strip() else []), (case, found)


def _check(cases: "list[Case]") -> None:
    wrong = [(case, _verdict(case.line)) for case in cases if not equal(_verdict(case.line), _due(case))]
    assert not wrong, wrong


def _due(case: "Case") -> "Verdict":
    return case.micropython if MICROPYTHON else case.cpython


def _verdict(line: bytes) -> "Verdict":
    try:
        return fields_of(SocketMessage.from_line(line))
    except ProtocolError as error:
        return error.code
