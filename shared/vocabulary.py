"""The vocabulary of both ends of the wire: how long the answer to each word may take, and a text be."""

MIN_TIMEOUT_MS = 100  # of `timeout_ms`
MAX_TIMEOUT_MS = 600_000
COMMAND_TIMEOUT_MS = 3_000  # where it is left out: the slowest hobby servo needs half of it
PING_TIMEOUT_MS = 1_000  # what consoles of this project give to what moves nothing

MAX_WHY_CHARS = 96  # that a hub keeps of why a cease fire was called
MAX_BY_CHARS = 48  # and of by whom
