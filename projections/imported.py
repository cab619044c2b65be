"""An imported message as the views see it: its role and its text. The log keeps it exactly as it was read."""

from typing import Any

import msgspec


class ImportedMessage(msgspec.Struct, frozen=True):
    """What views use of a message in the OpenAI shape; other fields are left aside."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text of all parts; a part that is none is named in brackets, for example `[image_url]`."""
        if isinstance(self.content, list):
            return "\n".join(_part_text(part) for part in self.content)
        return self.content or self.refusal or ""


def _part_text(part: dict[str, Any]) -> str:
    text = part.get("text", part.get("refusal"))
    return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"


_decoder = msgspec.json.Decoder(ImportedMessage)


def read_imported(message: msgspec.Raw) -> ImportedMessage:
    """Raises `msgspec.ValidationError` for what the import would not have taken."""
    return _decoder.decode(message)
