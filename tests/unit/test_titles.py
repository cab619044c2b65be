import pytest

from app.core.titles import Title, shown_title, title_of


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("hello", Title("hello", False)),
        ("  hello  ", Title("hello", False)),
        ("x" * 20, Title("x" * 20, False)),
        ("x" * 21, Title("x" * 20 + "...", False)),
        ("二十个字以内的标题不会被截断", Title("二十个字以内的标题不会被截断", False)),
        (
            "这是一个超过二十个字的很长很长的用户消息",
            Title("这是一个超过二十个字的很长很长的用户消息", False),
        ),
        (
            "这是一个超过二十个字的很长很长的用户消息啊",
            Title("这是一个超过二十个字的很长很长的用户消息...", False),
        ),
        ("@board topic", Title("topic", True)),
        ("  @board    many   spaces", Title("many   spaces", True)),
        ("@board:a,b rounds=3 topic", Title("topic", True)),
        ("@board rounds=3  topic", Title("topic", True)),
        ("@board:ann,ben 讨论预算", Title("讨论预算", True)),
        ("@board topic rounds=3", Title("topic rounds=3", True)),
        ("@board rounds=many topic", Title("rounds=many topic", True)),
        ("@Board topic", Title("topic", True)),
        ("@team:lead,dev build it", Title("build it", False)),
        ("@team build it", Title("build it", False)),
        ("@board", Title("", True)),
        ("@team", Title("", False)),
        ("@board:a,b rounds=3", Title("", True)),
        ("@board\ntopic", Title("topic", True)),
        ("@board:ana, bo topic", Title("topic", True)),
        ("@board：安娜，王五、李 rounds=3 讨论预算", Title("讨论预算", True)),
        ("@team:产品经理、工程师 写方案", Title("写方案", False)),
        ("@board: a, b or c", Title("a, b or c", True)),
        ("@board:,, topic", Title("topic", True)),
        ("@board rounds=３ topic", Title("topic", True)),
        ("@board rounds=3 @team:x rounds=9 y", Title("@team:x rounds=9 y", True)),
        ("@board rounds=3", Title("", True)),
        ("@boardroom is free", Title("@boardroom is free", False)),
        ("@board-room is free", Title("@board-room is free", False)),
        ("@teams meet", Title("@teams meet", False)),
        ("ask @board about it", Title("ask @board about it", False)),
        ("@board " + "y" * 25, Title("y" * 20 + "...", True)),
        ("", Title("", False)),
        ("   ", Title("", False)),
    ],
)
def test_title_is_the_first_message_without_command_cut_at_20_characters(content: str, title: Title) -> None:
    assert title_of(content) == title


@pytest.mark.parametrize(
    ("title", "locale", "shown"), [("", "en", "conversation"), ("", "zh", "对话"), ("题目", "zh", "题目")]
)
def test_an_empty_title_is_shown_as_the_word_of_the_locale(title: str, locale: str, shown: str) -> None:
    assert shown_title(title, locale) == shown
