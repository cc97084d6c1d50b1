"""Takes detections with python-socketio on eventlet, as the servers of cameras that exist are set. With a
folder; prints its port.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of itself
    import eventlet  # type: ignore[import-untyped]
    import eventlet.wsgi  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]

from tools.bench.programs.plain_store import MAX_BYTES, PlainStore

sio = socketio.Server(async_mode="eventlet", cors_allowed_origins="*", max_http_buffer_size=MAX_BYTES)
store = PlainStore(Path(sys.argv[1]))


@sio.on("lpr_data")  # type: ignore[untyped-decorator]
def detect(sid: str, data: dict[str, Any]) -> dict[str, object]:
    answer = store.keep(data)
    sio.emit("lpr_response", answer, to=sid)
    return answer


if __name__ == "__main__":
    listener = eventlet.listen(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    eventlet.wsgi.server(listener, socketio.WSGIApp(sio), log_output=False)
