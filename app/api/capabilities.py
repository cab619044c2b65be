"""What this deployment can do, in the eight categories that portal clients know."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from app.core.texts import Locale
from app.skills.names import Tools
from app.skills.skill import Skill


class SkillShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A skill as clients see it. `missing_tools`: what it would use but this deployment does not have."""

    name: str
    description: str
    mode: str
    missing_tools: tuple[str, ...] = ()


class Capability(msgspec.Struct, frozen=True, omit_defaults=True):
    """One category. `enabled` is true only where it works in this deployment; `skills` are those it counts."""

    name: str
    display_name: str
    description: str
    icon: str
    enabled: bool
    skill_count: int
    skills: tuple[SkillShown, ...] = ()


class _Category(NamedTuple):
    icon: str
    english: tuple[str, str]
    chinese: tuple[str, str]


_CATEGORIES: dict[str, _Category] = {
    "chat": _Category(
        "message-circle",
        ("Chat", "Talk to an agent that uses tools"),
        ("对话", "与会使用工具的智能体对话"),
    ),
    "workflow": _Category("git-branch", ("Workflow", "Plans with phases"), ("工作流", "分阶段的计划")),
    "knowledge": _Category(
        "book-open", ("Knowledge", "Search in your conversations and files"), ("知识", "搜索您的对话和文件")
    ),
    "skills": _Category("sparkles", ("Skills", "Ready-made ways of working"), ("技能", "现成的工作方式")),
    "terminal": _Category("terminal", ("Terminal", "Shell commands"), ("终端", "执行命令")),
    "computer_use": _Category("monitor", ("Computer use", "Work on a screen"), ("计算机操作", "操作屏幕")),
    "evolution": _Category("activity", ("Evolution", "Learn from experience"), ("进化", "从经验中学习")),
    "settings": _Category("settings", ("Settings", "Configuration"), ("设置", "配置")),
}
KNOWLEDGE_TOOLS = frozenset({"search", "read_upload"})


def capabilities(
    locale: Locale, *, skills: Sequence[Skill] = (), tools: Collection[str] = ("search",)
) -> list[Capability]:
    """All eight, in their fixed order. `skills` and `tools` (names) are those of the deployment."""
    works = {
        "chat": True,
        "workflow": True,
        "knowledge": not KNOWLEDGE_TOOLS.isdisjoint(tools),
        "skills": bool(skills),
        "terminal": "shell" in tools,
        "evolution": True,
    }
    there = Tools(tools)
    found: list[Capability] = []
    for name, category in _CATEGORIES.items():
        display_name, description = category.chinese if locale == "zh" else category.english
        tagged = tuple(
            SkillShown(skill.name, skill.description, skill.mode, there.missing(skill.tools))
            for skill in skills
            if name == "skills" or name in skill.capabilities
        )
        enabled = works.get(name, False)
        found.append(Capability(name, display_name, description, category.icon, enabled, len(tagged), tagged))
    return found
