"""Events of conversations, sessions and files. The rules of `app/core/events.py` hold."""

import msgspec


class LogOpened(msgspec.Struct, frozen=True, tag_field="type", tag="log.opened", omit_defaults=True):
    """First event of the stream `admin`: the log was made, by this release."""

    release: str


class ConversationCreated(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.created", omit_defaults=True
):
    conversation_id: str
    owner: str


class ConversationDeleted(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.deleted", omit_defaults=True
):
    """Views forget everything before this event; the log keeps it. A later message starts the view anew."""

    conversation_id: str


class ConversationImported(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.imported", omit_defaults=True
):
    """The head of an imported conversation. `fields` holds the source's other fields as JSON, exactly as read."""

    source_id: str
    fields: msgspec.Raw = msgspec.Raw(b"{}")


class MessageImported(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.imported", omit_defaults=True
):
    """One message in the OpenAI shape, as JSON exactly as read. `index` counts from 0 within its conversation."""

    index: int
    message: msgspec.Raw


class MessageReceived(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.received", omit_defaults=True
):
    """A person's message. `client_message_id` is the sender's own id: sent twice, taken once."""

    message_id: str
    content: str
    client_message_id: str | None = None
    sources: tuple[str, ...] = ()


class MessageAdded(msgspec.Struct, frozen=True, tag_field="type", tag="message.added", omit_defaults=True):
    """A message in the OpenAI shape that a client put into the history; no agent answers it."""

    message_id: str
    message: msgspec.Raw


class ConversationTitled(
    msgspec.Struct, frozen=True, tag_field="type", tag="conversation.titled", omit_defaults=True
):
    """The title from now on; empty: the one that the first message gives."""

    title: str


class MessageAnswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.answered", omit_defaults=True
):
    """The agent's whole answer to a message. `fallback` says that the model gave nothing and a fixed text stands in."""

    message_id: str
    content: str
    fallback: bool = False
    thinking: str = ""


class MessageInterrupted(
    msgspec.Struct, frozen=True, tag_field="type", tag="message.interrupted", omit_defaults=True
):
    """What there was of an answer when its run was cancelled or failed."""

    message_id: str
    content: str


class FileUploaded(msgspec.Struct, frozen=True, tag_field="type", tag="file.uploaded", omit_defaults=True):
    """A file of a user's (stream of the user). `size_bytes` was counted while reading; `content_type` is what the
    bytes look like. `conversation_id` is the conversation that it was uploaded for, empty: any."""

    stored_name: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    conversation_id: str = ""


class SessionOpened(msgspec.Struct, frozen=True, tag_field="type", tag="session.opened", omit_defaults=True):
    """A chat session bound to an agent: the conversation `session_id`. `metadata` is the client's JSON object."""

    session_id: str
    agent_name: str
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class SessionMetadataSet(
    msgspec.Struct, frozen=True, tag_field="type", tag="session.metadata_set", omit_defaults=True
):
    """The client's JSON object of the session from now on, in the place of the one before."""

    session_id: str
    metadata: msgspec.Raw


class SessionClosed(msgspec.Struct, frozen=True, tag_field="type", tag="session.closed", omit_defaults=True):
    """No further message is taken; everything stays readable."""

    session_id: str
