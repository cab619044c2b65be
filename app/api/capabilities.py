"""What this deployment can do, in the eight categories that portal clients know."""

from typing import NamedTuple

import msgspec

from app.core.texts import Locale


class Capability(msgspec.Struct, frozen=True):
    """One category. `enabled` is true only where it works in this deployment."""

    name: str
    display_name: str
    description: str
    icon: str
    enabled: bool
    skill_count: int


class _Category(NamedTuple):
    icon: str
    english: tuple[str, str]
    chinese: tuple[str, str]
    enabled: bool


_CATEGORIES: dict[str, _Category] = {
    "chat": _Category(
        "message-circle",
        ("Chat", "Talk to an agent that uses tools"),
        ("对话", "与会使用工具的智能体对话"),
        True,
    ),
    "workflow": _Category("git-branch", ("Workflow", "Plans with phases"), ("工作流", "分阶段的计划"), False),
    "knowledge": _Category(
        "book-open",
        ("Knowledge", "Search in your conversations and files"),
        ("知识", "搜索您的对话和文件"),
        True,
    ),
    "skills": _Category(
        "sparkles", ("Skills", "Ready-made ways of working"), ("技能", "现成的工作方式"), False
    ),
    "terminal": _Category("terminal", ("Terminal", "Shell commands"), ("终端", "执行命令"), False),
    "computer_use": _Category(
        "monitor", ("Computer use", "Work on a screen"), ("计算机操作", "操作屏幕"), False
    ),
    "evolution": _Category(
        "activity", ("Evolution", "Learn from experience"), ("进化", "从经验中学习"), False
    ),
    "settings": _Category("settings", ("Settings", "Configuration"), ("设置", "配置"), False),
}


def capabilities(locale: Locale) -> list[Capability]:
    """All eight, in their fixed order."""
    found: list[Capability] = []
    for name, category in _CATEGORIES.items():
        display_name, description = category.chinese if locale == "zh" else category.english
        found.append(Capability(name, display_name, description, category.icon, category.enabled, 0))
    return found
