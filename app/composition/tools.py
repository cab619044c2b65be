"""The tools of this deployment."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

from app.api.uploads import Uploads
from app.api.views import caught_up
from app.core.events import RunRequested
from app.core.streams import conversation_key
from app.log.log import Log
from app.runs.operations import MODE as OPERATION
from app.settings import Settings
from app.skills.names import TOOLS
from app.tools import (
    ask_human,
    calculator,
    clock,
    fetch,
    files,
    operation_status,
    read_upload,
    search,
    shell,
)
from app.tools.folders import WorkFolders
from app.tools.toolbox import ToolBox
from projections import tasks, transcript
from projections.reads import ReadPool
from projections.runner import ProjectionRunner


async def open_tools(stack: AsyncExitStack, settings: Settings, reads: ReadPool, uploads: Uploads) -> ToolBox:
    """The tools of this deployment; those of MCP servers join when their server is there."""

    async def find(owner: str, query: str, limit: int) -> Sequence[search.Hit]:
        found = await transcript.search(reads, owner, None, query, limit=limit)
        return [
            search.Hit(hit.conversation_id, hit.message.role, hit.message.content, hit.message.timestamp)
            for hit in found
        ]

    async def status(owner: str, operation_id: UUID) -> operation_status.OperationStatus | None:
        task = await tasks.get(reads, operation_id, owner=owner)
        if task is None or task.metadata.mode != OPERATION:
            return None
        output = task.output_data.message if task.output_data is not None else None
        return operation_status.OperationStatus(task.status, output)

    folders = WorkFolders(Path(settings.data_dir) / "work")
    tools = [
        calculator.tool(),
        clock.tool(),
        search.tool(find),
        read_upload.tool(uploads.read),
        ask_human.tool(settings.human_deadline_seconds),
        operation_status.tool(status),
        *files.tools(folders, uploads.read),
    ]
    if settings.fetch:
        tools.append(fetch.tool())
    if settings.shell:
        tools.append(
            shell.tool(folders, timeout_seconds=settings.shell_timeout_seconds, locale=settings.locale)
        )
    if not settings.mcp_servers:
        return ToolBox(tools)
    from app.tools.mcp import McpServers  # its library takes two seconds to import

    servers = McpServers(settings.mcp_servers, locale=settings.locale)
    toolbox = ToolBox(tools, arrival=servers.arrival)
    stack.push_async_callback(servers.close)
    await servers.start(toolbox.offer)
    return toolbox


def tool_names(settings: Settings) -> frozenset[str]:
    """The names of those that `open_tools` has, without those of MCP servers."""
    off = {"fetch_url": not settings.fetch, "shell": not settings.shell}
    return frozenset(name for name in TOOLS if not off.get(name))


async def find_operation(
    log: Log, views: ProjectionRunner, reads: ReadPool, stream: str, name: str, arguments: str
) -> UUID | None:
    """The open operation of this tool with these arguments, as of now."""
    key = conversation_key(stream)
    if key is None:
        return None
    await caught_up(log, views, "tasks", stream=stream)
    for task in await tasks.open_operations(reads, *key):
        if task.input_data.message == arguments:
            (requested,) = await log.reader.stream(stream, after=task.first_offset - 1, limit=1)
            event = requested.event()
            if isinstance(event, RunRequested) and [ref.spec.name for ref in event.tools] == [name]:
                return task.task_id
    return None
