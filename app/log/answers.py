"""An answer that is still being written, as readers are shown it."""

from typing import Literal
from uuid import UUID

import msgspec

Kind = Literal["text", "thinking"]
SHARE_SECONDS = 0.033
"""How often at most text is shared between nodes."""


class OpenAnswer(msgspec.Struct):
    """What there is of an answer. `restart` grows when it begins anew; `sealed`: say no more of it, its event is
    near.
    """

    answer_id: UUID
    stream: str
    task_id: UUID | None
    after_offset: int
    restart: int = 0
    text: str = ""
    thinking: str = ""
    sealed: bool = False

    def add(self, text: str, kind: Kind) -> None:
        if kind == "text":
            self.text += text
        else:
            self.thinking += text
