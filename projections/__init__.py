"""Views of the log. A new one is a file of this package and a line here."""

from projections import conversations, sessions, tasks, transcript
from projections.projection import AnyProjection

ALL: tuple[AnyProjection, ...] = (
    conversations.PROJECTION,
    transcript.PROJECTION,
    tasks.PROJECTION,
    sessions.PROJECTION,
)
