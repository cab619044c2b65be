"""What of an MCP server's tools and results a run gets to see."""

import hashlib
import re

import msgspec
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

NAME_CHARS_MAX = 64
_DIGEST_CHARS = 8
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def tool_name(server: str, tool: str) -> str:
    """`mcp__server__tool` of at most 64 letters, digits, `_` and `-`: what model providers take.

    A name that had to be changed ends in a digest of the original, so that no two become one.
    """
    wanted = f"mcp__{server}__{tool}"
    fit = _UNFIT.sub("_", wanted)
    if fit == wanted and len(fit) <= NAME_CHARS_MAX:
        return fit
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{fit[: NAME_CHARS_MAX - _DIGEST_CHARS - 1]}_{digest}"


def content_of(result: CallToolResult) -> str:
    """The texts, one below the other; structured content as JSON where there is no text (else it repeats the text)."""
    parts = [_words(block) for block in result.content]
    if result.structured_content is not None and not any(
        isinstance(block, TextContent) for block in result.content
    ):
        parts.append(msgspec.json.encode(result.structured_content).decode())
    return "\n".join(part for part in parts if part) or "(no content)"


def _words(block: ContentBlock) -> str:
    """The text, or what there would be to see or hear."""
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            size_bytes = len(block.data) * 3 // 4 - block.data[-2:].count("=")
            return f"[{block.type}, {block.mime_type}, {size_bytes} bytes: not shown]"
        case ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return f"[resource {resource.uri}]\n{resource.text}"
        case EmbeddedResource():
            return f"[resource {block.resource.uri}, {block.resource.mime_type or 'no text'}: not shown]"
