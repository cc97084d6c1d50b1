"""Errors between a console and its hub, beyond `ProtocolError` itself."""

from snyper.shared.socket_protocol import ErrorCode, ProtocolError


class NoHubError(ProtocolError):
    """There is no hub at the address: nobody answers, or what answers is none. The message says which."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.DISCONNECTED, message)


class TargetError(ProtocolError):
    """An error at the one target that a command was for: its own, or that it is away or says
    nothing. The hub is well.
    """

    def __init__(self, target_id: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.target_id = target_id
