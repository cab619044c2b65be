"""The real conversations. They lie beside the project, so a clone alone does not have them."""

from pathlib import Path

import pytest

CONVERSATIONS = Path(__file__).parents[2].parent / "shared/data/airline-conversations.jsonl"

needs_conversations = pytest.mark.skipif(
    not CONVERSATIONS.is_file(), reason=f"the real conversations are not at {CONVERSATIONS}"
)
