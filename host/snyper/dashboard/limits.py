"""The limits of the dashboard, each settable with `--limit NAME=NUMBER`."""

from snyper.shared.config import Integer

LIMITS: dict[str, Integer] = {
    "tabs": Integer(128, 1, 10_000),
    "cards": Integer(64, 1, 1_000),
    "messages_at_once": Integer(200, 20, 100_000),
    "messages_per_s": Integer(50, 5, 10_000),
    "message_bytes": Integer(65_536, 4_096, 1_000_000),
    "connections": Integer(512, 8, 60_000),
    "per_address": Integer(256, 8, 60_000),  # a browser takes one for each tab, and six more as it loads
    "handshake_ms": Integer(5_000, 500, 600_000),
    "head_ms": Integer(5_000, 500, 600_000),
    "head_bytes": Integer(16_384, 2_048, 1_000_000),
    "body_ms": Integer(5_000, 500, 600_000),
    "body_bytes": Integer(8_192, 1_024, 1_000_000),
    "answer_ms": Integer(20_000, 500, 600_000),
    "sessions": Integer(100, 1, 100_000),
    "session_s": Integer(12 * 3600, 60, 31_536_000),
    "guesses": Integer(5, 1, 1_000),
    "guess_wait_s": Integer(300, 1, 86_400),
    "exports": Integer(16, 1, 1_000),
}
