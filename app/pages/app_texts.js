// What the start page says, in English and Chinese.
const TEXTS = {
  en: {
    language: "en", api: "API", dashboard: "Dashboard", new: "New conversation", placeholder: "Write a message…", send: "Send",
    cancel: "Cancel", minutes: "The minutes", connected: "connected", lost: "connection lost, trying again…",
    cancelled: "cancelled", askKey: "This service asks for an API key.", enter: "Enter",
    wrongKey: "This key is not valid here.", unreachable: "The service cannot be reached.",
    gone: "This conversation is gone, or was never there.", answer: "Answer", consent: "May this be done?",
    approve: "Allow", refuse: "Refuse", deadline: "until {time}", unanswered: "nobody answered",
    approved: "allowed", refused: "refused", expired: "nobody answered, so it was refused",
    conversations: "Conversations", conversation: "Conversation", pending: "not delivered yet",
    hint: "Enter sends a message, Shift and Enter begins a new line.\n@board TOPIC has experts discuss it, @team TASK has them work on it.",
    someListed: "Older ones are not listed.", someShown: "The newest {count} messages; the minutes have all.",
    board: "Board: {names}", team: "Team: {names}", round: "{name}, summary of round {round}", silent: "{name} does not speak",
    phaseStarted: "{name}: {expert_name} begins", phaseCompleted: "{name}: done", phaseFailed: "{name}: failed. {message}",
    risk: "Risk: {risk}", rejected: "{reviewer_name} sends it back: {comment}",
  },
  zh: {
    language: "zh", api: "接口", dashboard: "仪表板", new: "新对话", placeholder: "输入消息…", send: "发送",
    cancel: "取消", minutes: "会议纪要", connected: "已连接", lost: "连接已断开，正在重试…",
    cancelled: "已取消", askKey: "此服务需要 API 密钥。", enter: "进入",
    wrongKey: "该密钥在此无效。", unreachable: "无法连接到服务。",
    gone: "该对话已不存在，或从未有过。", answer: "回答", consent: "是否允许执行？",
    approve: "允许", refuse: "拒绝", deadline: "截止时间：{time}", unanswered: "无人回答",
    approved: "已允许", refused: "已拒绝", expired: "无人回应，视为拒绝",
    conversations: "对话列表", conversation: "对话", pending: "尚未送达",
    hint: "输入消息并按回车发送；Shift 加回车换行。\n@board 议题：由专家讨论；@team 任务：由专家分工完成。",
    someListed: "更早的对话未列出。", someShown: "仅显示最新 {count} 条消息；纪要中有全部内容。",
    board: "会议：{names}", team: "团队：{names}", round: "{name}，第 {round} 轮小结", silent: "{name} 未发言",
    phaseStarted: "{name}：{expert_name} 开始", phaseCompleted: "{name}：完成", phaseFailed: "{name}：失败。{message}",
    risk: "风险：{risk}", rejected: "{reviewer_name} 退回：{comment}",
  },
};

// As chosen on the dashboard, else as the browser's. Storage may be forbidden.
function language() {
  try {
    if (localStorage.getItem("minutebook.language") in TEXTS) return localStorage.getItem("minutebook.language");
  } catch { /* then there is no choice */ }
  return navigator.language.startsWith("zh") ? "zh" : "en";
}

export const texts = TEXTS[language()];

// A text with these values in its places.
export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));

// Writes the page's fixed texts, found by data-text (content), data-placeholder and data-label (aria-label).
export function writeTexts() {
  document.documentElement.lang = texts.language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts[node.dataset.text];
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = texts[node.dataset.placeholder];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", texts[node.dataset.label]);
}
