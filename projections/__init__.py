"""Views of the log. A new one is a file of this package and a line here."""

from projections import (
    agent_counts,
    conversations,
    experience_texts,
    experiences,
    files,
    inboxes,
    key_uses,
    notifications,
    reminders,
    sessions,
    tasks,
    transcript,
    usage,
)
from projections.projection import AnyProjection

ALL: tuple[AnyProjection, ...] = (
    conversations.PROJECTION,
    transcript.PROJECTION,
    tasks.PROJECTION,
    sessions.PROJECTION,
    agent_counts.PROJECTION,
    usage.BY_DEPARTMENT,
    usage.BY_USER,
    experiences.PROJECTION,
    experience_texts.PROJECTION,
    files.PROJECTION,
    notifications.PROJECTION,
    inboxes.PROJECTION,
    reminders.PROJECTION,
    key_uses.PROJECTION,
)
