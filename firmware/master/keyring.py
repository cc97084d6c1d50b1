"""The keys of a hub, a line each: `NAME:HEX RIGHTS`, without rights a fleet's. Pure. Loaded for each
registration that brings a key.
"""

import os
from binascii import hexlify

from snyper.shared.handshake_server import Role
from snyper.shared.keys import KEY_BYTES, Rights
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.handshake_server import Registration
    from snyper.shared.keys import Key


def line_of(keys: str, name: str) -> str:
    """Return the line of the key with this name, empty where there is none."""
    found = ""
    for line in keys.split("\n"):  # all of them: how long it takes tells nothing
        if line.partition(":")[0] == name:
            found = line
    return found


def key_named(keys: str, name: str) -> "Key":
    """Return the key of that name; one that nobody has where there is none, so that who asks learns no more
    than from a wrong one. Raises ProtocolError `unauthorized` for what is no name.
    """
    from snyper.shared.keys import Key

    nobodys = "%s:%s" % (name, hexlify(os.urandom(KEY_BYTES)).decode())
    try:
        return Key((line_of(keys, name) or nobodys).partition(" ")[0])
    except ValueError:
        raise ProtocolError(ErrorCode.UNAUTHORIZED, "that is no name of a key") from None


def check_rights(keys: str, name: str, registration: "Registration") -> None:
    """Check that who has proven the key of that name may register so, and note whether it may command, and
    that a device is known by its key. Raises ProtocolError `unauthorized`, also for a key that there is no
    more.
    """
    line = line_of(keys, name)
    rights = line.partition(" ")[2] or Rights.FLEET
    if not line:
        why = "was revoked: get another"
    elif rights == Rights.FLEET:
        return
    elif rights == Rights.DEVICE:
        if registration.role != Role.CONSOLE and registration.target_id == name:
            registration.hardware_id = name  # what it says could be another's
            return
        why = "is for the target or service %s alone: give this one its own" % name
    else:
        registration.may_command = rights == Rights.CONSOLE
        if registration.role == Role.CONSOLE:
            return
        why = "is for consoles alone: give this one its own"
    raise ProtocolError(ErrorCode.UNAUTHORIZED, "the key %s %s" % (name, why))
