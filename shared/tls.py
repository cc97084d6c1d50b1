"""TLS between a link and its stream, for the side that dialled. Loaded for an address that asks for it."""

from snyper.shared.runtime import MICROPYTHON

if MICROPYTHON:
    from snyper.shared.tls_micropython import *  # noqa: F403
else:
    from snyper.shared.tls_cpython import *  # noqa: F403
