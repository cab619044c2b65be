"""What a mode is started with: a function of the log, so a replay starts with the same."""

from app.core.intents import RunStart
from app.core.texts import Locale
from app.log.read import LogReader
from app.runs.history import History, read_history
from app.runs.record import RunRecord


async def run_start(reader: LogReader, stream: str, record: RunRecord, until: int) -> RunStart:
    """The start of this run, with the conversation up to offset `until`; a child run is told what it needs.

    Raises `LogUnavailable`.
    """
    requested = record.requested
    history = History()
    if requested.parent is None:
        history = await read_history(
            reader, stream, task_id=record.task_id, until=until, max_history=requested.max_history
        )
    return RunStart(
        requested.input,
        requested.system_prompt,
        history.messages,
        tuple(ref.spec for ref in requested.tools),
        requested.limits,
        requested.model,
        requested.sources,
        requested.phases,
        locale_of(requested.locale),
        history.summary,
        history.unsummarized,
        history.unsummarized_until,
        requested.experts,
        requested.rounds,
        "" if record.lessons is None else record.lessons.text,
    )


def locale_of(name: str) -> Locale:
    """The language that a run speaks to people."""
    return "zh" if name == "zh" else "en"
