"""User-facing texts about requests as such, in English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "body_missing": ("The body is missing; send JSON.", "缺少请求正文，请发送 JSON。"),
    "body_not_json": ("The body is not valid JSON: {reason}.", "请求正文不是有效的 JSON：{reason}。"),
    "body_type": (
        "The body is of type {type!r}; send it as application/json.",
        "请求正文的类型为 {type!r}，请以 application/json 发送。",
    ),
    "body_too_large": (
        "The body is too large; {limit} bytes are taken.",
        "请求正文过大，最多 {limit} 字节。",
    ),
    "no_address": (
        "There is nothing at this address, or it is not for you; /schema shows what there is.",
        "此地址不存在或您无权访问；可用地址见 /schema。",
    ),
    "time_invalid": (
        "{name}={given!r} is not a time; write it like 2026-01-31T09:00:00Z or 2026-01-31T09:00:00+01:00.",
        "{name}={given!r} 不是有效时间，请写成 2026-01-31T09:00:00Z 或 2026-01-31T09:00:00+08:00。",
    ),
    "range_invalid": (
        "From {since} to {until} is no range: since has to be before until, by at most {days} days.",
        "{since} 到 {until} 不是有效范围：since 必须早于 until，且相差不超过 {days} 天。",
    ),
    "range_twice": (
        "until and as_of both say where the range ends; send one of them.",
        "until 和 as_of 都指定范围的终点，请只发送其中一个。",
    ),
    "position_unknown": (
        "There is no position {given} in the log (yet).",
        "日志中（尚）没有位置 {given}。",
    ),
    "as_of_of_all": (
        "as_of={given!r} is of one conversation or one part of the log; send a time here.",
        "as_of={given!r} 只属于某个对话或日志的一部分；此处请发送时间。",
    ),
    "as_of_alone": (
        "as_of needs conversation_id here: a list of the past is one of a conversation.",
        "此处 as_of 需要 conversation_id：过去的列表只能是某个对话的。",
    ),
    "group_one": (
        "{given} together are not counted; narrow the metrics by one of them, or list the experiences.",
        "不按 {given} 的组合计数；请只按其中一项筛选指标，或列出经验记录。",
    ),
    "no_experience": (
        "There is no experience {id!r} that you may see; a task leaves one when it has ended.",
        "没有您可查看的经验记录 {id!r}；任务结束后才会留下记录。",
    ),
    "no_method": (
        "This address does not take {method}; the header Allow names what it takes.",
        "此地址不支持 {method}；支持的方法见 Allow 响应头。",
    ),
}
