"""Changes settings of a running target: those that may be changed over the wire."""

from snyper.firmware.board.settings import change
from snyper.firmware.target.config import SCHEMA, read
from snyper.shared.config import ConfigError
from snyper.shared.log import keep
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def configure(config: "dict[str, Any]", data: "dict[str, Any]", on_flash: bool) -> None:
    """Put what `data` says of `threshold` and `groups` into `config`; with `on_flash` first into its file.

    Raises ProtocolError, and then nothing has changed: `bad_message`, or `fault` when the flash does not take
    it.
    """
    if "threshold" not in data and "groups" not in data:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`threshold` or `groups` is missing")
    fields: "dict[str, Any]" = SCHEMA
    new: "dict[str, Any]" = {}
    try:
        if "threshold" in data:
            threshold = fields["piezo"]["threshold"].read(data["threshold"], "threshold")
            new["piezo"] = {"threshold": threshold}
        if "groups" in data:
            new["groups"] = fields["groups"].read(data["groups"], "groups")
    except ConfigError as error:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error)) from None
    if on_flash:
        try:
            change(new, read)
        except (OSError, ConfigError) as error:
            keep("configure", "%s" % error)
            raise ProtocolError(
                ErrorCode.FAULT, "not changed: config.json cannot be written (%s)" % error
            ) from None
    if "piezo" in new:
        config["piezo"]["threshold"] = new["piezo"]["threshold"]
    if "groups" in new:
        config["groups"] = new["groups"]
