"""The experts of this deployment: who may be named behind `@board:` and `@team:`."""

import msgspec
from litestar import Router, get

from app.api.services import Services
from app.auth.principal import Principal
from app.core.texts import Locale
from app.experts.expert import Expert


class ShownExpert(msgspec.Struct, frozen=True, omit_defaults=True):
    """`names` is all that they answer to in a command. `missing_skills`: what they are bound to but is not there."""

    id: str
    name: str
    avatar: str
    color: str
    is_moderator: bool
    persona: str
    rules: str
    skills: tuple[str, ...]
    names: tuple[str, ...]
    model: str | None = None
    missing_skills: tuple[str, ...] = ()


class Experts(msgspec.Struct, frozen=True):
    """In the order of their ids. The defaults are the ids of those who are there; the first of a team leads."""

    experts: tuple[ShownExpert, ...]
    default_board: tuple[str, ...]
    default_team: tuple[str, ...]
    board_rounds: int


@get("/experts", summary="Who may sit on boards and in teams")
async def list_experts(services: Services, principal: Principal) -> Experts:
    """A file that has changed is shown as it is now, at most a second late."""
    roster = services.conversations.roster
    await roster.refresh()
    meetings, locale = roster.meetings, services.options.locale
    found = meetings.experts
    return Experts(
        tuple(_shown(expert, locale, services) for expert in found.experts),
        tuple(expert.id for name in meetings.options.board if (expert := found.find(name)) is not None),
        tuple(expert.id for name in meetings.options.team if (expert := found.find(name)) is not None),
        meetings.options.rounds,
    )


def _shown(expert: Expert, locale: Locale, services: Services) -> ShownExpert:
    words, skills = expert.words(locale), services.conversations.roster.skills
    return ShownExpert(
        expert.id,
        words.name,
        expert.avatar,
        expert.color,
        expert.is_moderator,
        words.persona,
        words.rules,
        expert.skills,
        expert.called,
        expert.model,
        tuple(name for name in expert.skills if skills.find(name) is None),
    )


experts_router = Router(path="/api/v1", route_handlers=[list_experts], tags=["experts"])
