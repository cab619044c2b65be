"""Why a message is not taken. Nothing was written; each is one sentence from `app.core.texts`."""

from app.core.quotas import Reached, sentence_of
from app.core.reasons import Explained
from app.core.texts import Locale, text


class Refused(Explained):
    """What is asked for is not done."""


class SkillUnknown(Refused):
    """There is no such skill. Values: `name`, `known`."""

    key = "no_skill"


class ModeMissing(Refused):
    """A mode was asked for that there is none of. Values: `mode`, `known`."""

    key = "mode_missing"


class MessageEmpty(Refused):
    """Nothing but white space, or nothing behind a prefix."""

    key = "message_empty"


class MessageTooLong(Refused):
    """Over the limit in bytes, as stored. Values: `size`, `limit`."""

    key = "message_too_long"


class TooManyRuns(Refused):
    """The queue of waiting tasks is full. Value: `limit`."""

    key = "too_many_runs"


class ClientMessageIdInvalid(Refused):
    """Too short or too long. Values: `size`, `limit` in characters. Or it cannot be kept as it is. Value: `id`."""

    key = "client_message_id_invalid"

    def sentence(self, locale: Locale) -> str:
        key = "client_message_id_unstorable" if "id" in self.values else self.key
        return text(key, locale, **self.values)


class ClientMessageIdReused(Refused):
    """The same id was sent with another message. Value: `id`."""

    key = "client_message_id_reused"


class AgentUnknown(Refused):
    """There is no such agent. Values: `name`, `known`."""

    key = "no_agent"


class ConversationBusy(Refused):
    """A task of the conversation runs, and the deployment takes no further message meanwhile."""

    key = "conversation_busy"


class TooManyTasks(Refused):
    """So many tasks of the conversation run or wait already. Value: `limit`."""

    key = "too_many_tasks"


class SessionIsClosed(Refused):
    """The chat session was closed. Value: `id`."""

    key = "session_closed"


class MessageMalformed(Refused):
    """It is not as the OpenAI API takes it. Values: `field`, which is wrong, and the `reason` (`Reason`)."""

    key = "message_malformed"


class ToolCallUnknown(Refused):
    """No earlier message has this tool call. Value: `id`."""

    key = "tool_call_unknown"


class ToolCallAnswered(Refused):
    """The tool call has its result, or gets it from the task that made it. Value: `id`."""

    key = "tool_call_answered"


class RequestNotOpen(Refused):
    """The question or confirmation was answered, has expired, or never was. Value: `id`."""

    key = "no_request"


class QuotaExceeded(Refused):
    """A quota is used up. `info` is what clients are told of it, `seconds_left` how long its period goes on."""

    key = "quota_reached_user"

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        self.info = reached.info
        self.seconds_left = reached.seconds_left
        super().__init__()

    def sentence(self, locale: Locale) -> str:
        return sentence_of(self._reached, locale)
