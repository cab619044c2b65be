"""Files of a user: up by multipart, down as attachments (wire contract, section 2)."""

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import msgspec
import structlog
from litestar import HttpMethod, Request, Response, Router, get, post, route
from litestar.exceptions import HTTPException, InternalServerException, NotFoundException
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Reference, RequestBody, Schema
from litestar.params import Parameter
from litestar.response import Stream
from python_multipart.multipart import parse_options_header

from app.api.services import Services
from app.api.views import caught_up
from app.auth.principal import Principal
from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import FileUploaded
from app.core.messages import storable
from app.core.reasons import Reason
from app.core.texts import text
from app.files import form, names
from app.files.form import FILE_BYTES_MAX, FormBroken, FormRefused, ReceivedFile, in_thread
from app.files.sniff import sniffed
from app.files.store import FileStore
from app.log.ids import new_id
from app.log.log import Log
from app.tools.read_upload import Upload
from projections import files, page_cursors
from projections.reads import ReadPool
from projections.runner import ProjectionRunner

CHUNK_BYTES = 64 * 1024
DISCARDED_BYTES_MAX = 64 * 1024 * 1024
"""Of a body that is refused: so much is let pass, so that its sender gets to reading the answer."""
SOURCES_DESCRIBED_MAX = 50
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

AnyRequest = Request[Any, Any, Any]
CursorOf = Annotated[
    str | None,
    Parameter(description="next_cursor of the page before"),
]
"""Of a list in the order of its owner's stream."""
logger = structlog.get_logger(__name__)


class Uploaded(msgspec.Struct, frozen=True):
    """`content_type` is what the bytes look like. `conversation_id` is empty for a file for any conversation."""

    filename: str
    stored_name: str
    content_type: str
    size: int
    download_url: str
    conversation_id: str


class ShownFile(msgspec.Struct, frozen=True):
    """A file in the list."""

    filename: str
    stored_name: str
    content_type: str
    size: int
    download_url: str
    conversation_id: str
    sha256: str
    created_at: datetime


class FilePage(msgspec.Struct, frozen=True):
    """The newest first. `next_cursor` is missing at the end."""

    files: list[ShownFile]
    next_cursor: str | None = None


class Uploads:
    """The files of all users. Whose a file is, what for, and what it was called is in its owner's stream and in the
    view of it; the store has its bytes alone."""

    def __init__(self, store: FileStore, log: Log, views: ProjectionRunner, reads: ReadPool) -> None:
        self.store = store
        self._log = log
        self._views = views
        self._reads = reads

    async def open(self) -> None:
        """Sweep what uploads of processes that are gone have left. Raises `OSError`."""
        if swept := await asyncio.to_thread(self.store.prepare):
            logger.info("unfinished_uploads_swept", files=swept)
        for sha256 in await asyncio.to_thread(self.store.unsettled):
            with self.store.claimed(sha256) as free:
                if free:
                    await self._settle(sha256)

    async def _settle(self, sha256: str) -> None:
        try:
            await self._caught_up()
            known = await files.is_known(self._reads, sha256)
        except Exception as error:  # the next start may do better
            logger.warning("upload_not_settled", sha256=sha256, error=str(error))
            return
        self.store.settle_claimed(sha256, keep=known)
        logger.info("upload_settled", sha256=sha256, kept=known)

    async def keep(self, owner: str, received: ReceivedFile, conversation_id: str) -> FileUploaded:
        """A received file becomes one of the owner's. Raises `OSError` and the log's errors: then it is none."""
        filename = storable(names.shown_name(received.filename))
        kind = await asyncio.to_thread(_looked_at, received, filename)
        published = await in_thread(self.store.publish, received.draft)
        stored = names.stored_name(secrets.token_hex(16), filename)
        event = FileUploaded(
            stored, filename, kind, received.draft.size_bytes, published.sha256, conversation_id
        )
        try:
            new = NewEvent(new_id(), event, user_actor(owner))
            await self._log.append(streams.user(owner), [new])
        except BaseException:
            self.store.leave(published)  # whether it was written is not always known: the next start looks
            raise
        await asyncio.to_thread(self.store.settle, published)
        return event

    async def find(self, owner: str, stored_name: str) -> files.File | None:
        """The owner's file with this stored name, as of now."""
        if not names.is_stored_name(stored_name):
            return None
        await self._caught_up()
        return await files.get(self._reads, owner, stored_name)

    async def read(self, owner: str, conversation_id: str, name: str) -> Upload | None:
        """For tools: the file with this stored name or file name, if the conversation may use it."""
        await self._caught_up()
        found = (await files.named(self._reads, owner, conversation_id, [name])).get(name)
        if found is None:
            return None
        try:
            data = await asyncio.to_thread(self._bytes_of, found)
        except FileNotFoundError:
            return None
        return Upload(found.filename, found.content_type, data)

    async def described(self, owner: str, conversation_id: str, sources: Sequence[str]) -> tuple[str, ...]:
        """The sources of a message as a model is told of them: of those that are files, name, type and size. Whatever
        else stands there stays as it is."""
        if not sources:
            return ()
        await self._caught_up()
        found = await files.named(self._reads, owner, conversation_id, sources[:SOURCES_DESCRIBED_MAX])
        return tuple(described(found[one]) if one in found else one for one in sources)

    async def listed(
        self, owner: str, conversation_id: str | None, before: int | None, limit: int
    ) -> list[files.File]:
        await self._caught_up()
        return await files.list_by_owner(
            self._reads, owner, conversation_id=conversation_id, before=before, limit=limit
        )

    def _bytes_of(self, found: files.File) -> bytes:
        with self.store.open(found.stored_name, found.sha256) as file:
            return file.read(FILE_BYTES_MAX)

    async def _caught_up(self) -> None:
        await caught_up(self._log, self._views, "files")


def described(found: files.File) -> str:
    """As a model is told of it."""
    size = f"{found.size_bytes} bytes"
    return f"{found.filename} ({found.content_type}, {size}, stored_name {found.stored_name})"


def _looked_at(received: ReceivedFile, filename: str) -> str:
    """Its media type, once its bytes are on disk."""
    received.draft.finish()
    return sniffed(received.draft.path, filename, received.claimed)


@dataclass
class _UploadOperation(Operation):
    """The form, which the framework does not see: the handler reads it by itself, as it comes."""

    def __post_init__(self) -> None:
        fields: dict[str, Reference | Schema] = {
            "file": Schema(type=OpenAPIType.STRING, content_media_type="application/octet-stream"),
            "conversation_id": Schema(
                type=OpenAPIType.STRING, max_length=streams.CONVERSATION_ID_CHARS_MAX, pattern="^[^/]*$"
            ),
        }
        schema = Schema(type=OpenAPIType.OBJECT, properties=fields, required=["file"])
        self.request_body = RequestBody({"multipart/form-data": OpenAPIMediaType(schema)}, required=True)


@post(
    "/upload",
    status_code=201,
    request_max_body_size=None,
    operation_class=_UploadOperation,
    summary="Upload a file of at most 10 MB",
)
async def upload(request: AnyRequest, services: Services, uploads: Uploads, principal: Principal) -> Uploaded:
    """The form fields `file` and, where it is for one conversation alone, `conversation_id`. Stored under a random name
    with a sanitised extension; 413 above 10 MB, as soon as more than that has come."""
    locale = services.options.locale
    try:
        received = await _received(request, uploads)
        try:
            conversation_id = received.fields.get("conversation_id", "")
            if conversation_id:
                streams.conversation(principal.user_id, conversation_id)
            event = await uploads.keep(principal.user_id, received, conversation_id)
        finally:
            await asyncio.to_thread(received.draft.close)
    except FormRefused as error:
        headers = {} if _passes(request) else {"Connection": "close"}
        raise HTTPException(error.sentence(locale), status_code=error.status, headers=headers) from None
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        logger.error("uploads_folder_full", error=str(error))  # noqa: TRY400 (what is wrong is known)
        raise HTTPException(text("upload_no_room", locale), status_code=503) from None
    return Uploaded(
        event.filename,
        event.stored_name,
        event.content_type,
        event.size_bytes,
        _url(event.stored_name),
        event.conversation_id,
    )


async def _received(request: AnyRequest, uploads: Uploads) -> ReceivedFile:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"application/x-www-form-urlencoded":
        raise form.FileMissing
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise _NotAForm
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > FILE_BYTES_MAX + form.BESIDES_BYTES_MAX:
        raise form.FileTooLarge
    return await form.receive(_pieces(request), options[b"boundary"], uploads.store.begin)


class _NotAForm(FormRefused):
    key = "upload_not_a_form"
    status = 415


async def _pieces(request: AnyRequest) -> AsyncIterator[bytes]:
    """The body as it comes. Raises `FormBroken` where its sender goes away."""
    try:
        async for piece in request.stream():
            yield piece
    except InternalServerException:
        raise FormBroken(reason=Reason("upload_sender_gone")) from None


def _passes(request: AnyRequest) -> bool:
    """Whether what is left of a refused body may pass: its end is near, or known."""
    announced = request.headers.get("content-length", "")
    return announced.isdigit() and int(announced) <= DISCARDED_BYTES_MAX


@get("/uploads", summary="One's files, newest first")
async def list_files(
    services: Services,
    uploads: Uploads,
    owner: str,
    conversation_id: Annotated[
        str | None, Parameter(description="those that this conversation may use", max_length=200)
    ] = None,
    limit: Annotated[int, Parameter(ge=1, le=500)] = 50,
    cursor: CursorOf = None,
) -> FilePage:
    before = page_cursors.offset_of(cursor) if cursor else None
    if conversation_id is not None:
        streams.conversation(owner, conversation_id)
    found = await uploads.listed(owner, conversation_id, before, limit + 1)
    page = found[:limit]
    return FilePage(
        [
            ShownFile(
                row.filename,
                row.stored_name,
                row.content_type,
                row.size_bytes,
                _url(row.stored_name),
                row.conversation_id,
                row.sha256,
                row.uploaded_at,
            )
            for row in page
        ],
        page_cursors.offset_cursor(page[-1].uploaded_offset) if len(found) > limit else None,
    )


@route(
    "/uploads/{stored_name:str}",
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    status_code=200,
    media_type="application/octet-stream",
    summary="Download a file of one's own",
)
async def download(
    request: AnyRequest, services: Services, uploads: Uploads, owner: str, stored_name: str
) -> Response[Any]:
    """Always an attachment; 404 for whatever is not the caller's file."""
    found = await uploads.find(owner, stored_name)
    if found is None:
        raise NotFoundException(text("no_file", services.options.locale))
    try:
        file = await asyncio.to_thread(uploads.store.open, found.stored_name, found.sha256)
    except FileNotFoundError:
        logger.error("uploaded_file_missing", stored_name=stored_name)  # noqa: TRY400
        raise NotFoundException(text("no_file", services.options.locale)) from None
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename, safe='')}",
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-store",
    }
    if request.method == "HEAD":
        file.close()
        return Stream(_nothing(), media_type="application/octet-stream", headers=headers)
    return Stream(_chunks(file), media_type="application/octet-stream", headers=headers)


async def _chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def _nothing() -> AsyncGenerator[bytes]:
    yield b""


def _url(stored_name: str) -> str:
    return f"/api/v1/chat/uploads/{stored_name}"


uploads_router = Router(path="/api/v1/chat", route_handlers=[upload, list_files, download], tags=["files"])
