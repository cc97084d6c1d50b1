"""The arrays that a gateway stores, through the dashboard, for browsers that do not reach it."""

from functools import partial

from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from snyper.dashboard.exporting import Exports
from snyper.dashboard.signal_export import plain_name
from snyper.dashboard.stored_arrays import StoredArrays
from snyper.device.errors import Refused, TransferError


def add_route(app: FastAPI, arrays: StoredArrays, exports: Exports) -> None:
    """Add `/export/array`: an array by its index, as `.npy` under the name that it has in the list."""

    @app.get("/export/array", include_in_schema=False)
    async def export(index: int, name: str = "array") -> Response:
        try:
            file = f"{plain_name(name).removesuffix('.npy')}.npy"
            return await exports.answer(partial(arrays.write, index), file, "application/octet-stream")
        except Refused as error:
            return PlainTextResponse(str(error), 404)
        except (TransferError, OSError) as error:
            return PlainTextResponse(f"it cannot be exported: {error}", 502)
