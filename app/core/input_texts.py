"""What is wrong with input, as the decoder sees it: English and Chinese. The names of types stay those of JSON."""

TEXTS: dict[str, tuple[str, str]] = {
    "input_named": ("{name}: {reason}", "{name}：{reason}"),
    "input_value_of": ("{name}={given!r}: {reason}", "{name}={given!r}：{reason}"),
    "input_no_member": ("{name}={given!r} is none of {known}", "{name}={given!r} 不在可用值之列：{known}"),
    "input_known": ("{reason}; known are: {known}", "{reason}；可用值：{known}"),
    "input_type": ("Expected {wanted}, got {given}", "应为 {wanted}，实为 {given}"),
    "input_kind": ("Expected {wanted}", "应为 {wanted}"),
    "input_bound": ("Expected {wanted} {sign} {bound}", "应为 {sign} {bound} 的 {wanted}"),
    "input_length": (
        "Expected {wanted} of length {sign} {bound}",
        "应为长度 {sign} {bound} 的 {wanted}",
    ),
    "input_count": (
        "Expected {wanted} of length {bound}, got {given}",
        "应为长度 {bound} 的 {wanted}，实为 {given}",
    ),
    "input_regex": ("Expected {wanted} matching regex {pattern}", "应为匹配正则表达式 {pattern} 的 {wanted}"),
    "input_zone": ("Expected {wanted} with a timezone component", "应为带时区的 {wanted}"),
    "input_missing": ("Object missing required field {field}", "缺少必填字段 {field}"),
    "input_unknown": ("Object contains unknown field {field}", "含有未知字段 {field}"),
    "input_enum": ("Invalid enum value {given}", "无效的值 {given}"),
    "input_value": ("Invalid value {given}", "无效的值 {given}"),
    "input_uuid": ("Invalid UUID", "不是有效的 UUID"),
    "input_time": ("Invalid RFC3339 encoded {what}", "不是有效的 RFC 3339 {what}"),
    "input_range": ("{what} out of range", "{what} 超出范围"),
    "json_truncated": ("Input data was truncated", "内容不完整"),
    "json_malformed": ("JSON is malformed: {what} (byte {at})", "第 {at} 字节处有误（{what}）"),
    "json_deep": ("it is nested too deeply", "嵌套层数过多"),
    "json_not_utf8": ("it is not UTF-8", "不是 UTF-8 编码"),
    "json_surrogate": (
        "it has half of a character: {given} without its other half",
        "含有半个字符：{given} 缺少另一半",
    ),
    "frame_not_json": ("This frame is not valid JSON: {reason}.", "该消息不是有效的 JSON：{reason}。"),
    "frame_unreadable": ("This frame cannot be read: {reason}.", "无法读取该消息：{reason}。"),
    "frame_empty": (
        "This frame has no text; send JSON in a text frame, not a binary one.",
        "该消息没有文本；请以文本帧（而非二进制帧）发送 JSON。",
    ),
    "frame_no_type": (
        "A frame has to be a JSON object with a type, which is one of: {known}.",
        "消息必须是带有 type 的 JSON 对象；可用类型：{known}。",
    ),
    "body_not_json": ("The body is not valid JSON: {reason}.", "请求正文不是有效的 JSON：{reason}。"),
    "body_unreadable": ("The body cannot be read: {reason}.", "无法读取请求正文：{reason}。"),
    "conversation_id_invalid": (
        "{name} has to be 1-{limit} printable characters without '/', this one has {size}: {given!r}.",
        "{name} 须为 1-{limit} 个可打印字符且不含“/”，当前为 {size} 个：{given!r}。",
    ),
    "no_as_of": (
        "This call takes no as_of (as_of={given!r}); leave it out to read what is there now. docs/past.md names the "
        "calls that do.",
        "此调用不支持 as_of（as_of={given!r}）；去掉它可读取当前内容。支持 as_of 的调用见 docs/past.md。",
    ),
    "no_model": (
        "There is no model {name!r} here; there is {known}.",
        "此处没有模型 {name!r}；可用模型：{known}。",
    ),
    "no_model_of_provider": (
        "The model's provider does not know the model {name!r}.",
        "模型提供方没有模型 {name!r}。",
    ),
    "cron_minute": ("bad minute", "“分”无效"),
    "cron_hour": ("bad hour", "“时”无效"),
    "cron_day-of-month": ("bad day of month", "“日”无效"),
    "cron_month": ("bad month", "“月”无效"),
    "cron_day-of-week": ("bad day of week", "“星期”无效"),
    "cron_fields": ("{count} fields", "共 {count} 个字段"),
    "cron_long": ("more than {limit} characters", "超过 {limit} 个字符"),
    "cron_unclear": ("not understood", "无法理解"),
}
