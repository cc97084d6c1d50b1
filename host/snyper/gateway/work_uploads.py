"""Uploads in pieces to services: once one is complete it becomes work, as the same file in a form does."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

from snyper.device.inbox.limits import Limits
from snyper.device.inbox.uploads import UnknownUpload, Upload, Uploads
from snyper.device.serving.exchange import Exchange
from snyper.device.serving.requests import disk_refusal
from snyper.device.serving.resumable_routes import ResumableRoutes, Target
from snyper.gateway.uploads import DEFAULT_OPTIONS, FILE_NAME, Upload as WorkUpload, file_upload
from snyper.gateway.work_routes import WorkRoutes
from snyper.offload.declarations import Kind, Service


def upload_limits(services: Sequence[Service], keep_free_bytes: int) -> Limits:
    """Return the limits of all uploads to services, each of which has its own for a file."""
    most = max((one.max_bytes for one in services), default=0)
    return Limits(max_file_bytes=most, keep_free_bytes=keep_free_bytes)


def uploads_to(services: Sequence[Service], work: WorkRoutes, uploads: Uploads) -> ResumableRoutes:
    """Return the routes of uploads to those of the services that take files."""
    targets = {one.path: _ServiceTarget(one, work, uploads) for one in services if one.kind is not Kind.DATA}
    return ResumableRoutes(uploads, targets)


class _ServiceTarget(Target):
    """A service that takes files."""

    def __init__(self, service: Service, work: WorkRoutes, uploads: Uploads) -> None:
        self.max_bytes = service.max_bytes
        self._service = service
        self._work = work
        self._uploads = uploads

    async def replay(
        self, exchange: Exchange, key: str, digest: str | None, length: int | None, filename: str
    ) -> bool:
        """Answer nothing: an upload that is complete is known, and finished again."""
        return False

    async def finish(self, exchange: Exchange, upload: Upload) -> None:
        """Answer with what the service makes of it; a repeat joins the work, or gets the result that is kept.
        Raises Refused, Refusal, HungUp.
        """
        key = upload.item_key
        is_here = self._uploads.is_as_it_came(upload)
        if not is_here and not await self._work.knows(exchange, self._service, key):
            raise UnknownUpload("what came is not here any more: send it anew")
        await self._work.serve_read(exchange, self._service, key, partial(self._read, upload))
        await self._uploads.let_go(upload)  # not where it was refused: then it may be tried again

    async def _read(self, upload: Upload, folder: Path) -> WorkUpload:
        assert upload.digest is not None
        try:
            await asyncio.to_thread(_share, upload.path, folder / FILE_NAME)
        except FileNotFoundError:
            pass  # there is work or a result already, and nobody looks for the file
        except OSError as error:
            raise disk_refusal(error) from error
        query = parse_qs(upload.target.partition("?")[2])
        options = query.get("options", [DEFAULT_OPTIONS])[-1]
        about = (upload.filename, upload.content_type, options)
        return file_upload(self._service, folder, upload.digest, *about)


def _share(path: Path, other: Path) -> None:
    """Have a file at `other` too. Raises OSError."""
    try:
        os.link(path, other)
    except FileNotFoundError:
        raise
    except OSError:  # of a file system that has no hard links
        shutil.copyfile(path, other)
