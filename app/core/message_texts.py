"""What is wrong with messages in the OpenAI shape: English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "message_malformed": (
        "{field}: {reason}.",
        "{field}：{reason}。",
    ),
    "reason_then": ("{reason}; {then}", "{reason}；{then}"),
    "shape_object": (
        "a message is a JSON object with a role and content",
        "消息须为带有 role 和 content 的 JSON 对象",
    ),
    "shape_not_json": ("the message is not valid JSON in UTF-8", "消息不是 UTF-8 编码的有效 JSON"),
    "shape_deep": ("the message is nested too deeply", "消息嵌套层数过多"),
    "shape_role": ("the role is one of {roles}", "role 须为以下之一：{roles}"),
    "shape_content": (
        "send a string, or a list of parts that this role may have",
        "请发送字符串，或该角色可用的内容块列表",
    ),
    "shape_tool_calls": (
        "send [{{id, type: 'function', function: {{name, arguments}}}}]",
        "请发送 [{{id, type: 'function', function: {{name, arguments}}}}]",
    ),
    "shape_answers": (
        "name the id of the tool call that this message answers",
        "请填写此消息所回应的工具调用的 id",
    ),
    "shape_name": ("send a string", "请发送字符串"),
    "shape_other": ("correct it and send it again", "请更正后重新发送"),
    "shape_said_nothing": (
        "an assistant's message has content, a refusal or tool calls",
        "助手的消息须有 content、refusal 或 tool_calls",
    ),
    "shape_call_ids": ("every call needs an id of its own", "每个调用都须有各自的 id"),
    "shape_called": ("name what is called", "请填写所调用的名称"),
    "shape_other_role": (
        "is not for a message of role {role}; leave it out",
        "不适用于角色为 {role} 的消息，请去掉",
    ),
    "shape_unknown": (
        "is no key that the OpenAI API knows here; leave it out",
        "不是 OpenAI API 在此处可用的键，请去掉",
    ),
    "messages_count": (
        "send 1-{limit} messages at once, these are {count}",
        "一次请发送 1-{limit} 条消息，当前为 {count} 条",
    ),
    "client_ids_differ": (
        "is {one!r}, but client_message_id is {other!r}; both name the same, so send one of them",
        "为 {one!r}，而 client_message_id 为 {other!r}；两者含义相同，请只发送其中一个",
    ),
    "run_of_user": (
        "only a message of role user is answered; leave run out",
        "只有角色为 user 的消息才会得到回答，请去掉 run",
    ),
    "only_answered": (
        "is for messages that an agent answers; leave it out",
        "仅用于由智能体回答的消息，请去掉",
    ),
    "only_kept": (
        "is for messages that no agent answers; leave it out, or send run: false",
        "仅用于不由智能体回答的消息；请去掉，或发送 run: false",
    ),
    "only_text": (
        "an agent answers text; send a string or parts of type text, or run: false to have the message kept",
        "智能体只回答文本；请发送字符串或 text 类型的内容块，或发送 run: false 只保存该消息",
    ),
    "tool_call_unknown": (
        "tool_call_id {id!r} is of no tool call that an earlier message of an assistant has; add that message first.",
        "tool_call_id {id!r} 不属于此前任何助手消息的工具调用，请先添加该消息。",
    ),
    "tool_call_answered": (
        "The tool call {id!r} has a result already, or gets it from the task that made it; leave this message out.",
        "工具调用 {id!r} 已有结果，或将由发起它的任务返回结果；请去掉此消息。",
    ),
}
