"""`operation_status`: how a long-running tool's work is going, for the model that started it earlier."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from app.tools.tool import Tool, ToolContext, ToolError, make_tool


class StatusArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operation_id: Annotated[
        str, Meta(min_length=36, max_length=36, description="As operation_started gave it.")
    ]


class OperationStatus(msgspec.Struct, frozen=True):
    """`status` is that of the task; `result` what it came to, as far as there is anything."""

    status: str
    result: str | None = None


Find = Callable[[str, UUID], Awaitable[OperationStatus | None]]
"""The operation of an owner's; None if there is none of that id."""


def tool(find: Find) -> Tool:
    async def status(arguments: StatusArguments, context: ToolContext) -> str:
        try:
            operation_id = UUID(arguments.operation_id)
        except ValueError:
            operation_id = None
        found = await find(context.owner, operation_id) if operation_id is not None else None
        if found is None:
            raise ToolError(
                f"There is no operation {arguments.operation_id!r}; use the operation_id of operation_started."
            )
        return msgspec.json.encode(
            {"operation_id": arguments.operation_id, **msgspec.structs.asdict(found)}
        ).decode()

    return make_tool(
        "operation_status",
        "Says whether a long-running operation is still running, and its result once it has one.",
        StatusArguments,
        status,
        effect="pure",
    )
