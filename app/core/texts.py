"""User-facing texts in English and Chinese. Clients know the Chinese ones of the wire contract."""

from typing import Literal

from app.core.admin_texts import TEXTS as ADMIN_TEXTS
from app.core.input_texts import TEXTS as INPUT_TEXTS
from app.core.message_texts import TEXTS as MESSAGE_TEXTS
from app.core.minutes_texts import TEXTS as MINUTES_TEXTS
from app.core.model_texts import TEXTS as MODEL_TEXTS
from app.core.push_texts import TEXTS as PUSH_TEXTS
from app.core.request_texts import TEXTS as REQUEST_TEXTS

Locale = Literal["en", "zh"]

_TEXTS: dict[str, tuple[str, str]] = {
    "conversation": ("conversation", "对话"),
    "empty_answer": (
        "I could not come up with an answer this time. Please try again or put the question another way.",
        "抱歉，我这次没能生成回答，请重试或换个说法。",
    ),
    "unknown_frame": (
        "Unknown frame type {type!r}; known are: {known}.",
        "未知的消息类型 {type!r}；可用类型：{known}。",
    ),
    "invalid_frame": ("This {type} frame is not valid: {reason}", "该 {type} 消息无效：{reason}"),
    "frame_too_large": ("A frame may have at most {limit} bytes.", "单条消息最多 {limit} 字节。"),
    "unauthorized": (
        "The API key or token is missing or not valid. Send a key in X-API-Key or as api_key=, a token as "
        "Authorization: Bearer or token=.",
        "API 密钥或令牌缺失或无效。密钥请通过 X-API-Key 或 api_key= 提供，"
        "令牌请通过 Authorization: Bearer 或 token= 提供。",
    ),
    "forbidden": (
        "Your role {role} may read but not change anything.",
        "您的角色 {role} 只能读取，不能修改。",
    ),
    "forbidden_scope": (
        "This key has only the scopes {scopes}; this call needs {needed}.",
        "该密钥仅有 {scopes} 权限，此操作需要 {needed} 权限。",
    ),
    "too_many_sockets": (
        "You have more than {limit} sockets open; the oldest was closed.",
        "您打开的连接超过 {limit} 个，最早的连接已关闭。",
    ),
    "unauthorized_frame": (
        "The API key is missing or not valid: the first frame has to be auth with an api_key or a token.",
        "API 密钥缺失或无效：第一条消息必须是带有 api_key 或 token 的 auth。",
    ),
    "unauthorized_silence": (
        "The API key is missing: no auth frame came within {seconds} seconds.",
        "API 密钥缺失：{seconds} 秒内没有收到 auth 消息。",
    ),
    "key_ended": (
        "Your key is no longer valid; the connection was closed.",
        "您的密钥已失效，连接已关闭。",
    ),
    "too_many_frames": (
        "You send more than {limit} frames a second; this one was not taken.",
        "您每秒发送超过 {limit} 条消息，该消息未被处理。",
    ),
    "too_many_waiting": (
        "Too many connections wait to be authenticated. Please try again shortly.",
        "等待认证的连接过多，请稍后重试。",
    ),
    "restart": (
        "The server is being restarted; connect again.",
        "服务器正在重启，请重新连接。",
    ),
    "foreign_origin": (
        "Pages of {origin} may not use this server. The setting allowed_origins names those that may.",
        "来自 {origin} 的页面不能使用此服务器。可在 allowed_origins 设置中允许。",
    ),
    "foreign_host": (
        "This server is in development mode and does not answer to the name {host}; use 127.0.0.1 or localhost.",
        "服务器处于开发模式，不响应主机名 {host}；请使用 127.0.0.1 或 localhost。",
    ),
    "metrics_forbidden": (
        "The metrics are for admins and auditors.",
        "指标仅供管理员和审计员查看。",
    ),
    "heartbeat": ("Nothing was heard for {seconds} seconds.", "{seconds} 秒内没有收到任何消息。"),
    "message_empty": ("The message is empty; send at least one character.", "消息为空，请至少发送一个字符。"),
    "message_too_long": (
        "The message has {size} bytes; the limit is {limit}.",
        "消息有 {size} 字节，上限为 {limit} 字节。",
    ),
    "no_conversation": (
        "There is no conversation {id!r}. GET /api/v1/portal/conversations lists yours.",
        "没有对话 {id!r}。",
    ),
    "no_owner": (
        "There is nothing of {owner!r} that you may see. Leave owner= out to see your own.",
        "没有您可查看的 {owner!r} 的内容。去掉 owner= 可查看您自己的内容。",
    ),
    "no_skill": (
        "There is no skill {name!r}. Known skills: {known}.",
        "没有技能 {name!r}。可用技能：{known}。",
    ),
    "upload_missing": (
        "Send the file as the multipart form field 'file'.",
        "请以 multipart 表单字段 file 上传文件。",
    ),
    "upload_too_large": ("A file may have at most 10 MB.", "文件最大 10 MB。"),
    "no_file": ("There is no such file of yours.", "没有此文件。"),
    "no_task": ("There is no such task in this conversation.", "该对话中没有此任务。"),
    "no_running_task": ("No task of this socket is running.", "该连接没有正在运行的任务。"),
    "resume_needs_conversation": (
        "resume needs task_id and conversation_id.",
        "resume 需要 task_id 和 conversation_id。",
    ),
    "confirm_shell": (
        "This command would run on the server, with the rights of its user.",
        "该命令将在服务器上以服务用户的权限运行。",
    ),
    "confirm_mcp": (
        "The operator wants a person to agree before {server} does this.",
        "管理员要求在 {server} 执行此操作前由人确认。",
    ),
    "mode_missing": (
        "There is no mode {mode!r}; known are: {known}.",
        "没有模式 {mode!r}；可用模式：{known}。",
    ),
    "log_unavailable": (
        "The database cannot be reached at the moment. Please try again shortly.",
        "暂时无法连接数据库，请稍后重试。",
    ),
    "overloaded": (
        "The server is taking in more than it can write. Please try again shortly.",
        "服务器繁忙，请稍后重试。",
    ),
    "internal": (
        "Something went wrong on our side; the log of the server says more under {reference}.",
        "服务器内部错误，服务器日志中的编号为 {reference}。",
    ),
    "run_timeout": (
        "The task took longer than {seconds} seconds and was ended.",
        "任务超过 {seconds} 秒，已结束。",
    ),
    "call_ended": ("This call was ended before it had a result.", "此调用在得到结果之前已结束。"),
    "time_is_up": ("The time is up.", "时间已用完。"),
    "cancelled": ("The task was cancelled.", "任务已取消。"),
    "steered": ("The running task has taken your message into account.", "正在运行的任务已采纳您的消息。"),
    "budget_tokens": (
        "The task used its budget of {limit} tokens and was ended.",
        "任务已用完 {limit} 个 token 的预算，已结束。",
    ),
    "budget_cost": (
        "The task used its budget of {limit} US dollars and was ended.",
        "任务已用完 {limit} 美元的预算，已结束。",
    ),
    "crash_loop": (
        "The task was taken up {times} times and never got on; it was ended.",
        "任务已被接手 {times} 次仍无进展，已结束。",
    ),
    "conversation_busy": (
        "A task of this conversation is running; wait for its end or cancel it.",
        "该对话有任务正在运行，请等待其结束或取消。",
    ),
    "too_many_tasks": (
        "{limit} tasks of this conversation run or wait already; wait for one to end.",
        "该对话已有 {limit} 个任务在运行或等待，请等待其中一个结束。",
    ),
    "no_request": (
        "There is no open question or confirmation {id!r}: it was answered, has expired, or never was.",
        "没有待处理的问题或确认 {id!r}：已回答、已过期或不存在。",
    ),
    "no_agent": (
        "There is no agent {name!r}. Known agents: {known}.",
        "没有智能体 {name!r}。可用智能体：{known}。",
    ),
    "watching_only": (
        "This session is {owner}'s: you may watch it, but not take part in it.",
        "此会话属于 {owner}：您可以查看，但不能参与。",
    ),
    "title_too_long": (
        "The title has {size} characters; the limit is {limit}.",
        "标题有 {size} 个字符，上限为 {limit} 个。",
    ),
    "history_too_long": (
        "The session has more than {limit} bytes of messages; read them a page at a time with GET …/messages.",
        "该会话的消息超过 {limit} 字节；请用 GET …/messages 分页读取。",
    ),
    "session_closed": ("The session {id!r} is closed; open a new one.", "会话 {id!r} 已关闭，请新建会话。"),
    "session_taken": (
        "The id {id!r} is that of another session or conversation, or was that of a deleted one; choose another one.",
        "编号 {id!r} 已被其他会话或对话（包括已删除的）使用，请换一个。",
    ),
    "metadata_too_long": (
        "The metadata has {size} bytes; the limit is {limit}.",
        "metadata 有 {size} 字节，上限为 {limit} 字节。",
    ),
    "models_resting": (
        "The models that come first have failed several times and are not asked for a while.",
        "首选模型多次失败，暂时不再调用。",
    ),
    "no_running_task_of_session": (
        "No such task of this session is running.",
        "该会话没有正在运行的此任务。",
    ),
    "nobody_speaks": (
        "Nobody is speaking now in a board or team.",
        "当前没有正在发言的专家。",
    ),
    "task_message": (
        "Send either message or input_data: a text, or an object with a message or whatever the agent needs.",
        "请提供 message 或 input_data 之一：文本，或包含 message 及智能体所需内容的对象。",
    ),
    "task_input": (
        "input_data.{field} is {value}; it has to be {form}.",
        "input_data.{field} 的值为 {value}，应为{form}。",
    ),
    "form_text": ("a text", "文本"),
    "form_texts": ("a list of texts", "文本列表"),
    "task_status": (
        "There is no status {given!r}; known are: {known}.",
        "没有状态 {given!r}；可用状态：{known}。",
    ),
    "no_task_of_yours": ("There is no task {id!r} of yours.", "您没有任务 {id!r}。"),
    "task_ended": ("The task has ended already: {status}.", "任务已结束：{status}。"),
    "no_session": ("There is no session {id!r}.", "没有会话 {id!r}。"),
    "shutdown": ("The server was shut down.", "服务器已关闭。"),
    "plan_invalid": (
        "The model did not manage to write a plan that can be carried out. Please ask again, or in another mode.",
        "模型未能写出可执行的计划，请重试或换用其他模式。",
    ),
    "board_summary": ("Summary", "总结"),
    "board_advice": ("Decision advice", "决策建议"),
    "board_consensus": ("Consensus", "共识"),
    "board_dissent": ("Dissent", "分歧"),
    "board_votes": ("Votes", "投票"),
    "board_none": ("None.", "无。"),
    "board_rounds": ("Rounds: {rounds}.", "轮数：{rounds}。"),
    "board_stopped_rounds": ("The meeting ended because all rounds were held.", "所有轮次已完成，会议结束。"),
    "board_stopped_consensus": (
        "The meeting ended because the moderator found consensus.",
        "主持人确认已达成共识，会议结束。",
    ),
    "board_stopped_budget": (
        "The meeting ended early because its budget was used up.",
        "会议预算已用完，会议提前结束。",
    ),
    "board_unstructured": (
        "No structured conclusion was reached; the summary is the last one that the moderator gave.",
        "未能形成结构化结论；总结取自主持人最近一次的发言。",
    ),
    "board_no_summary": (
        "The moderator had not summed up any round when the meeting ended.",
        "会议结束时，主持人尚未对任何一轮作出总结。",
    ),
    "board_nothing_said": ("The answer was empty.", "回答为空。"),
    "board_nobody_spoke": (
        "Nobody could speak in round {round}, so the meeting was ended. The last reason was: {reason}",
        "第 {round} 轮无人能够发言，会议已结束。最后的原因：{reason}",
    ),
    "board_no_topic": ("A board needs a topic.", "董事会会议需要一个议题。"),
    "board_no_experts": ("A board needs at least one expert.", "董事会会议至少需要一位专家。"),
    "board_too_many": ("A board has at most {limit} experts.", "董事会会议最多 {limit} 位专家。"),
    "team_nobody": ("A team needs at least one member.", "团队至少需要一名成员。"),
    "team_no_plan": (
        "There is no plan of several phases: {lead} did not manage to write one. {lead} does the task in one phase.",
        "没有多阶段计划：{lead} 未能写出计划，任务由 {lead} 在一个阶段内完成。",
    ),
    "team_only_phase": ("The whole task", "全部任务"),
    "team_owner_unknown": (
        "{owner!r} is not in the team; {lead} takes on the phase {name}.",
        "{owner!r} 不在团队中，阶段“{name}”由 {lead} 负责。",
    ),
    "team_delivered": ("{provider} has delivered: {deliverable}", "{provider} 已交付：{deliverable}"),
    "team_review_unclear": (
        "The review had no clear verdict, so the result counts as accepted. {said}",
        "评审没有明确结论，结果视为已接受。{said}",
    ),
    "team_review_missing": (
        "The result could not be reviewed, so it counts as accepted. {reason}",
        "未能评审该结果，视为已接受。{reason}",
    ),
    "team_not_accepted": (
        "{lead} did not accept the result of {name}; it is used all the same. {comment}",
        "{lead} 未接受阶段“{name}”的结果，但仍予以采用。{comment}",
    ),
    "team_not_started": ("The work could not be started.", "工作未能启动。"),
    "team_empty_result": ("The result was empty.", "结果为空。"),
    "team_needs_failed": (
        "Not begun: it needs {name}, which has failed.",
        "未开始：依赖的阶段“{name}”已失败。",
    ),
    "team_not_done": ("Not done: the team was at its limits.", "未完成：团队已达到上限。"),
    "team_phase_failed": ("Failed: {reason}", "失败：{reason}"),
    "team_budget": (
        "The team ended early. {reason} These are the results that there were by then:",
        "团队提前结束。{reason}以下是当时已有的结果：",
    ),
    "check_not_passed": (
        "Note: I checked this answer myself and it did not pass my own check. Please treat it with care.",
        "注意：此回答未通过我自己的检查，请谨慎使用。",
    ),
    "check_not_made": (
        "Note: I could not check this answer. Please treat it with care.",
        "注意：我未能检查此回答，请谨慎使用。",
    ),
    "step_limit": (
        "The step limit of {limit} was reached before there was an answer.",
        "在得出回答之前已达到 {limit} 步的上限。",
    ),
    "too_many_runs": (
        "{limit} tasks wait already; nothing was started. Please try again shortly.",
        "已有 {limit} 个任务在等待，未启动新任务，请稍后重试。",
    ),
    "client_message_id_invalid": (
        "client_message_id has to have 1-{limit} characters, this one has {size}.",
        "client_message_id 的长度须为 1-{limit} 个字符，当前为 {size} 个。",
    ),
    "client_message_id_unstorable": (
        "client_message_id {id!r} has a character that cannot be stored: U+0000 or half of a surrogate pair; "
        "send one without it.",
        "client_message_id {id!r} 含有无法存储的字符（U+0000 或不成对的代理项），请去掉后重新发送。",
    ),
    "client_message_id_reused": (
        "client_message_id {id!r} was used before for another message; give every message its own.",
        "client_message_id {id!r} 已用于另一条消息，请为每条消息使用不同的编号。",
    ),
    "replay_diverged": (
        "The task cannot go on after a restart: at step {step} this release would act differently. Please ask again.",
        "重启后任务无法继续：在第 {step} 步，当前版本的行为与记录不一致，请重新提问。",
    ),
    "run_mode_gone": (
        "The task cannot go on: the mode {mode} is not part of this release.",
        "任务无法继续：当前版本不包含模式 {mode}。",
    ),
    "form_board": ("@board:expert,expert rounds=3 topic", "@board:专家,专家 rounds=3 议题"),
    "form_team": ("@team:expert,expert task", "@team:专家,专家 任务"),
    "meeting_no_topic": (
        "Nothing stands behind the command. Write it like this: {form}",
        "命令之后没有内容。正确写法：{form}",
    ),
    "meeting_rounds": (
        "rounds={given} is no number from 1 to {limit}. Write it like this: {form}",
        "rounds={given} 不是 1 到 {limit} 之间的整数。正确写法：{form}",
    ),
    "meeting_without_rounds": (
        "A team has no rounds. Write it like this: {form}",
        "团队没有轮数。正确写法：{form}",
    ),
    "meeting_too_many": (
        "{count} experts were named; at most {limit} may take part. Write it like this: {form}",
        "指定了 {count} 位专家，最多 {limit} 位。正确写法：{form}",
    ),
    "meeting_no_expert": (
        "There is no expert {names}. Write it like this: {form}. Known experts: {known}.",
        "没有专家 {names}。正确写法：{form}。可用专家：{known}。",
    ),
    "meeting_no_expert_near": (
        "There is no expert {names}; did you mean {near}? Write it like this: {form}. Known experts: {known}.",
        "没有专家 {names}，您是否指 {near}？正确写法：{form}。可用专家：{known}。",
    ),
    "meeting_nobody": (
        "{setting} names {names}, and there is no such expert. Write it like this: {form}. Known experts: {known}.",
        "{setting} 指定的 {names} 不是可用的专家。正确写法：{form}。可用专家：{known}。",
    ),
    "meeting_no_speaker": (
        "A board needs an expert besides its moderator. Write it like this: {form}",
        "除主持人外，会议至少需要一位专家。正确写法：{form}",
    ),
    "quota_reached_department": (
        "Your department has used up its {limit} {what} for this {period}; more is possible from {until} on.",
        "您所在部门本{period}的配额（{limit} {what}）已用完，{until} 起可继续使用。",
    ),
    "quota_reached_user": (
        "You have used up your {limit} {what} for this {period}; more is possible from {until} on.",
        "您本{period}的配额（{limit} {what}）已用完，{until} 起可继续使用。",
    ),
    "quota_requests": ("messages", "条消息"),
    "quota_tokens": ("tokens", "个 token"),
    "quota_cost": ("US dollars", "美元"),
    "quota_hour": ("hour", "小时"),
    "quota_day": ("day", "日"),
    "quota_month": ("month", "月"),
    **ADMIN_TEXTS,
    **INPUT_TEXTS,
    **MESSAGE_TEXTS,
    **MINUTES_TEXTS,
    **MODEL_TEXTS,
    **PUSH_TEXTS,
    **REQUEST_TEXTS,
}


def text(key: str, locale: Locale = "en", **values: object) -> str:
    """The text in that language with its placeholders filled in. An unknown key is a programming error (`KeyError`)."""
    english, chinese = _TEXTS[key]
    return (chinese if locale == "zh" else english).format(**values)
