"""Files of a user: up by multipart, down as attachments (wire contract, section 2)."""

import hashlib
import re
import secrets
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

import anyio
import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import Body

from app.api.services import Services
from app.auth.principal import Principal
from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import FileUploaded
from app.core.ids import new_id
from app.core.texts import Locale, text
from app.log.read import LogReader
from app.tools.read_upload import Upload

FILE_BYTES_MAX = 10 * 1024 * 1024
BODY_BYTES_MAX = FILE_BYTES_MAX + 64 * 1024
CHUNK_BYTES = 64 * 1024
FILENAME_CHARS_MAX = 200
_SAFE_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")
_STORED_NAME = re.compile(r"[0-9a-f]{32}(\.[A-Za-z0-9]{1,10})?")


class Uploaded(msgspec.Struct, frozen=True):
    filename: str
    stored_name: str
    content_type: str
    size: int
    download_url: str


class Uploads:
    """The upload folder. Whose a file is and what it was called is in its owner's stream, not in the folder."""

    def __init__(self, folder: Path, reader: LogReader) -> None:
        self._folder = folder
        self._reader = reader

    async def find(self, owner: str, name: str) -> FileUploaded | None:
        """The owner's file with this stored name or, the newest first, this file name."""
        found: FileUploaded | None = None
        async for recorded in self._reader.all_of(streams.user(owner)):
            event = recorded.event()
            if isinstance(event, FileUploaded) and name in (event.stored_name, event.filename):
                found = event
        return found

    async def read(self, owner: str, name: str) -> Upload | None:
        """Its bytes, for the tool that reads uploads; None if there is no such file of this owner."""
        found = await self.find(owner, name)
        if found is None:
            return None
        path = anyio.Path(self._folder / found.stored_name)
        if not await path.is_file():
            return None
        return Upload(found.filename, found.content_type, await path.read_bytes())

    def path(self, stored_name: str) -> Path:
        return self._folder / stored_name


@post(
    "/upload", status_code=201, request_max_body_size=BODY_BYTES_MAX, summary="Upload a file of at most 10 MB"
)
async def upload(
    services: Services,
    uploads: Uploads,
    principal: Principal,
    data: Annotated[dict[str, Any], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> Uploaded:
    """The form field `file`. Stored under a random name with a sanitised extension; 413 above 10 MB."""
    file = data.get("file")
    if not isinstance(file, UploadFile):
        raise HTTPException(text("upload_missing", services.options.locale), status_code=400)
    filename = PurePosixPath((file.filename or "file").replace("\\", "/")).name
    filename = "".join(filter(str.isprintable, filename))[:FILENAME_CHARS_MAX] or "file"
    extension = PurePosixPath(filename).suffix
    stored_name = secrets.token_hex(16) + (extension if _SAFE_EXTENSION.fullmatch(extension) else "")
    path = anyio.Path(uploads.path(stored_name))
    try:
        event = await _store(file, path, filename, services.options.locale)
        actor = user_actor(principal.user_id)
        await services.log.append(streams.user(principal.user_id), [NewEvent(new_id(), event, actor)])
    except BaseException:
        with anyio.CancelScope(shield=True):
            await path.unlink(missing_ok=True)
        raise
    url = f"/api/v1/chat/uploads/{stored_name}"
    return Uploaded(filename, stored_name, event.content_type, event.size_bytes, url)


async def _store(file: UploadFile, path: anyio.Path, filename: str, locale: Locale) -> FileUploaded:
    """Copy the file, counting as it is read. Raises 413 above 10 MB."""
    size_bytes, digest = 0, hashlib.sha256()
    async with await path.open("xb") as target:
        while chunk := await file.read(CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > FILE_BYTES_MAX:
                raise HTTPException(text("upload_too_large", locale), status_code=413)
            digest.update(chunk)
            await target.write(chunk)
    kind = file.content_type or "application/octet-stream"
    return FileUploaded(path.name, filename, kind, size_bytes, digest.hexdigest())


@get("/uploads/{stored_name:str}", summary="Download a file of one's own")
async def download(
    services: Services, uploads: Uploads, principal: Principal, stored_name: str
) -> Response[bytes]:
    """Always an attachment; 404 for whatever is not the caller's file."""
    found = (
        await uploads.find(principal.user_id, stored_name) if _STORED_NAME.fullmatch(stored_name) else None
    )
    content = await uploads.read(principal.user_id, stored_name) if found is not None else None
    if found is None or content is None:
        raise NotFoundException(text("no_file", services.options.locale))
    return Response(
        content.data,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-store",
        },
    )


uploads_router = Router(path="/api/v1/chat", route_handlers=[upload, download], tags=["files"])
