"""User-facing texts about requests as such, in English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "body_missing": ("The body is missing; send JSON.", "缺少请求正文，请发送 JSON。"),
    "body_type": (
        "The body is of type {type!r}; send it as application/json.",
        "请求正文的类型为 {type!r}，请以 application/json 发送。",
    ),
    "body_too_large": (
        "The body is too large; {limit} bytes are taken.",
        "请求正文过大，最多 {limit} 字节。",
    ),
    "kept_too_large": (
        "What was sent has {size} bytes as it is kept; the limit is {limit}. Send less of it, or upload it as a file.",
        "所发送的内容保存后为 {size} 字节，上限为 {limit} 字节；请减少内容，或作为文件上传。",
    ),
    "id_used": (
        "This was sent before under the same id, with other content; give it an id of its own.",
        "此编号已用于另一内容，请换一个编号。",
    ),
    "no_address": (
        "There is nothing at this address, or it is not for you; /schema shows what there is.",
        "此地址不存在或您无权访问；可用地址见 /schema。",
    ),
    "cursor_of_list": (
        "{given!r} is not a cursor of this list; send the one of the page before, or none.",
        "{given!r} 不是此列表的游标；请使用上一页返回的游标，或不提供。",
    ),
    "cursor_of_feed": (
        "{name}={given!r} is not a cursor; send an offset (42) or an answer's cursor (epoch:42).",
        "{name}={given!r} 不是游标；请发送偏移量（42）或应答中的游标（epoch:42）。",
    ),
    "last_event_id_alone": (
        "Last-Event-ID needs the conversation_id that the routing event named; send it in the body.",
        "Last-Event-ID 需要 routing 事件中给出的 conversation_id，请在请求正文中提供。",
    ),
    "cursor_of_experiences": (
        "{name}={given!r} is not a cursor; send that of the last frame, or none.",
        "{name}={given!r} 不是游标；请发送最后一帧中的游标，或不提供。",
    ),
    "cursor_of_other_epoch": (
        "This cursor belongs to another epoch of the log (now {epoch}), as after a restore; start from the snapshot.",
        "此游标属于日志的另一个纪元（当前为 {epoch}），例如恢复之后；请从快照重新开始。",
    ),
    "cursor_beyond": (
        "This cursor is at offset {after}, the conversation ends at {head}.",
        "此游标位于偏移量 {after}，而对话结束于 {head}。",
    ),
    "not_a_uuid": ("{name}={given!r} is not a UUID.", "{name}={given!r} 不是 UUID。"),
    "not_a_count": (
        "{name}={given!r} is not a number from 1 to {limit}.",
        "{name}={given!r} 不是 1 到 {limit} 之间的整数。",
    ),
    "not_a_flag": (
        "{name}={given!r} is neither true nor false.",
        "{name}={given!r} 既不是 true 也不是 false。",
    ),
    "time_invalid": (
        "{name}={given!r} is not a time with its zone; write it like 2026-01-31T09:00:00Z or "
        "2026-01-31T09:00:00+01:00.",
        "{name}={given!r} 不是带时区的有效时间，请写成 2026-01-31T09:00:00Z 或 2026-01-31T09:00:00+08:00。",
    ),
    "as_of_invalid": (
        "as_of={given!r} is not a moment; send offset:120, position:4711, or a time with its zone "
        "(2026-11-22T10:00:00Z).",
        "as_of={given!r} 不是有效时刻；请发送 offset:120、position:4711 或带时区的时间（2026-11-22T10:00:00Z）。",
    ),
    "as_of_to_come": (
        "as_of={given!r} is to come: the conversation is at offset:{head}; leave as_of out to read what is there now.",
        "as_of={given!r} 尚未发生：对话位于 offset:{head}；去掉 as_of 可读取当前内容。",
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
