"""A server as people write it with FastAPI: prints its port. Its process serves and works."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, File, Form, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask

app = FastAPI()


@app.post("/api/process/file")
async def process_file(file: UploadFile = File(...), options: str = Form(default="default")) -> FileResponse:  # noqa: B008
    handle, path = tempfile.mkstemp()
    os.close(handle)
    Path(path).write_bytes(await file.read())  # noqa: ASYNC240 - so it is written there
    remove = BackgroundTask(os.remove, path)
    return FileResponse(
        path, media_type=file.content_type, filename=f"processed_{file.filename}", background=remove
    )


@app.post("/api/process/data")
async def process_data(request: dict[str, Any]) -> JSONResponse:
    return JSONResponse(content={"result": request.get("data")})


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    # With what FastAPI and uvicorn bring by themselves, as the gateway has it.
    config = uvicorn.Config(app, "127.0.0.1", 0, loop="asyncio", http="h11", log_level="error")
    asyncio.run(_Server(config).serve())
