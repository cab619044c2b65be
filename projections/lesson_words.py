"""Which words of a goal tell what it is about. Without the others, all requests are alike: "could you please …"."""

from collections.abc import Iterable

_WORDS = """
a about after again all also am an and any are as ask at be because been before being between both but by can cannot
could d did do does doing don done during each either else etc ever every few find for from get give go had has have
having he hello help her here hers hey hi him his how i if in into is it its just know let like ll m make many may me
might mine more most much must my need neither no nor not now of off ok okay on once one only or other our ours out over
own per please put question re s same say shall she should show so some such t tell than thank thanks that the their
theirs them then there these they thing things this those through to too try under until up us use using ve very want
was we well were what when where whether which while who whom whose why will with within without would write yes yet you
your yours
一下 一些 一点 看一 看看 可以 能否 能不 不能 需要 应该 想要 如何 因为 所以 但是 如果 以及 或者 有没 告诉 谢谢
问题 现在 已经 进行 使用 关于 其中 还有 不要 不是 是否 多少 为何 好的 您好 你好
"""
_SILENT = frozenset(_WORDS.split())
_GRAMMAR = frozenset("的了是我你您他她它们这那哪请帮吗呢吧啊么什怎样给个没都也就很")
"""Characters of Chinese that are hardly ever part of what a request is about: a pair with one of them does not tell."""


def telling(terms: Iterable[str]) -> list[str]:
    """The terms (`experience_texts.terms_of`) that tell what a text is about, in their order."""
    return [term for term in terms if term not in _SILENT and not _is_grammar(term)]


def _is_grammar(term: str) -> bool:
    """A pair of Chinese characters of which one is grammar, a pair of Hiragana, or a letter alone."""
    if len(term) == 1:
        return term in _GRAMMAR or "぀" <= term <= "ゟ" or (term.isascii() and term.isalpha())
    return any(c in _GRAMMAR for c in term) or (len(term) == 2 and all("぀" <= c <= "ゟ" for c in term))
