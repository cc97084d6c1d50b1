"""What the parser makes of lines of the wire, which come as hexadecimal digits on standard input.

The answer to each is the message as it would be sent on, or the code of the error that its sender is told.
"""

import sys
from binascii import unhexlify

_HERE = __file__.rpartition("/")[0] or "."
sys.path.insert(0, _HERE + "/../../host")

from snyper.shared.socket_protocol import ProtocolError, SocketMessage  # noqa: E402

while True:
    digits = sys.stdin.readline().strip()
    if not digits:
        break
    try:
        print(SocketMessage.from_line(unhexlify(digits)).to_line().decode(), end="")
    except ProtocolError as error:
        print((SocketMessage.from_line(error.to_message().to_line()).data or {})["code"])
