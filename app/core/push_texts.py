"""User-facing texts about files, notifications and reminders, in English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "upload_several": ("Send one file at a time.", "每次只能上传一个文件。"),
    "upload_broken": (
        "The form cannot be read ({reason}); nothing was stored.",
        "无法读取表单（{reason}），未保存任何内容。",
    ),
    "upload_unreadable": ("{said}", "格式有误：{said}"),
    "upload_parts": ("it has more than {limit} parts", "超过 {limit} 个部分"),
    "upload_nameless": ("a part has no name", "有一个部分没有名称"),
    "upload_field_long": (
        "the field {name!r} has more than {limit} bytes",
        "字段 {name!r} 超过 {limit} 字节",
    ),
    "upload_field_not_utf8": ("the field {name!r} is not UTF-8", "字段 {name!r} 不是 UTF-8 编码"),
    "upload_cut": ("it ends too early", "内容不完整"),
    "upload_sender_gone": ("its sender went away", "发送方已断开"),
    "upload_slow": (
        "The file did not come within {seconds} seconds; nothing was stored.",
        "文件未在 {seconds} 秒内传完，未保存任何内容。",
    ),
    "upload_no_room": (
        "The server has no room for this file; nothing was stored.",
        "服务器没有空间保存此文件，未保存任何内容。",
    ),
    "upload_not_a_form": (
        "Send the file as multipart/form-data, in the field 'file'.",
        "请以 multipart/form-data 的 file 字段上传文件。",
    ),
    "no_user": ("There is no user {id!r} whom you may notify.", "没有您可以通知的用户 {id!r}。"),
    "notification_too_long": (
        "The message has {size} bytes as JSON; the limit is {limit}.",
        "消息的 JSON 有 {size} 字节，上限为 {limit} 字节。",
    ),
    "notification_id_reused": (
        "notification_id {id!r} was used before for another message; give every message its own.",
        "notification_id {id!r} 已用于另一条消息，请为每条消息使用不同的编号。",
    ),
    "notifications_after_invalid": (
        "notifications_after has to be an offset, a whole number from 0 on; this one is {given!r}.",
        "notifications_after 必须是偏移量（从 0 开始的整数），当前为 {given!r}。",
    ),
    "no_reminder": ("There is no reminder {id!r} of yours.", "您没有提醒 {id!r}。"),
    "reminder_over": (
        "The reminder {id!r} is {status} already.",
        "提醒 {id!r} 已结束（{status}）。",
    ),
    "reminder_one_time": (
        "A reminder needs either 'at' or 'cron'.",
        "提醒需要 at 或 cron 之一。",
    ),
    "reminder_text_empty": ("The text of a reminder cannot be empty.", "提醒内容不能为空。"),
    "reminder_at_invalid": (
        "at has to be a time with its offset (RFC 3339), like 2030-01-31T09:00:00Z; this one is {given!r}.",
        "at 必须是带时区偏移的时间（RFC 3339），例如 2030-01-31T09:00:00Z，当前为 {given!r}。",
    ),
    "reminder_at_past": (
        "at is in the past: {given}, and now it is {now}.",
        "at 是过去的时间：{given}，现在是 {now}。",
    ),
    "reminder_at_far": (
        "at is more than {years} years ahead: {given}.",
        "at 超过 {years} 年之后：{given}。",
    ),
    "reminder_cron_invalid": (
        "{given!r} is not a cron expression ({reason}). Five fields are needed: minute, hour, day of month, month, "
        "day of week, like 30 9 * * MON-FRI.",
        "{given!r} 不是有效的 cron 表达式（{reason}）。需要五个字段：分、时、日、月、星期，例如 30 9 * * MON-FRI。",
    ),
    "reminder_cron_never": (
        "{given!r} is never due within {years} years.",
        "{given!r} 在 {years} 年内不会触发。",
    ),
    "reminder_zone_unknown": (
        "There is no time zone {given!r}; take an IANA name like Europe/Berlin or Asia/Shanghai.",
        "没有时区 {given!r}，请使用 IANA 名称，例如 Asia/Shanghai。",
    ),
    "reminder_text_long": (
        "The text has {size} characters; the limit is {limit}.",
        "提醒内容有 {size} 个字符，上限为 {limit} 个。",
    ),
    "reminder_owner_disabled": (
        "The user is disabled, so the agent was not asked.",
        "用户已被停用，未向智能体发送消息。",
    ),
    "too_many_reminders": (
        "You have {limit} open reminders already; cancel one first.",
        "您已有 {limit} 个未触发的提醒，请先取消一个。",
    ),
}
