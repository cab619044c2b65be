"""`ask_human`: a question to the people of the conversation, who may take their time, within a deadline."""

from typing import Annotated

from msgspec import Meta, Struct

from app.tools.tool import Tool, ToolContext, make_tool

QUESTION_CHARS_MAX = 2_000
MARGIN_SECONDS = 15.0
UNANSWERED = "Nobody answered in time. Go on without an answer, and say what you assumed."


class AskArguments(Struct, frozen=True, forbid_unknown_fields=True):
    question: Annotated[
        str,
        Meta(description="The question, in the user's language", min_length=1, max_length=QUESTION_CHARS_MAX),
    ]


def tool(deadline_seconds: float) -> Tool:
    """`deadline_seconds`: how long `context.people` waits; the tool itself waits 15 s longer."""

    async def ask(arguments: AskArguments, context: ToolContext) -> str:
        answer = await context.people.ask(arguments.question)
        return UNANSWERED if answer is None else f"The answer: {answer}"

    return make_tool(
        "ask_human",
        "Asks the user a question and waits for the answer. Only for what you cannot find out or decide yourself.",
        AskArguments,
        ask,
        effect="idempotent",
        timeout_seconds=deadline_seconds + MARGIN_SECONDS,
    )
