// What the dashboard says, in English and Chinese, and how it writes numbers, times and durations.
const TEXTS = {
  en: {
    dashboard: "Dashboard", api: "API", language: "Language", askKey: "This service asks for an API key.", enter: "Enter",
    wrongKey: "This key is not valid here.", live: "live", lost: "connection lost, trying again…",
    unreachable: "The service cannot be reached.", period: "Period", day: "24 hours", week: "7 days", month: "30 days",
    everybody: "everybody’s runs", ownerOnly: "runs of {owner}", range: "{since} – {until} ({zone}), {whose}",
    nothing24h: "Nothing has ended in these 24 hours.", nothing7d: "Nothing has ended in these 7 days.",
    nothing30d: "Nothing has ended in these 30 days.",
    figures: "Figures", runs: "Runs", runsOf: "{succeeded} succeeded, {failed} failed, {cancelled} cancelled",
    rate: "Success rate", rateOf: "of those that ended by themselves", durations: "p50 / p95 / p99",
    durationsOf: "{timed} timed runs", durationsNone: "no timed runs", tokens: "Tokens",
    tokensOf: "{prompt} in, {completion} out", cost: "Cost", costOf: "{mean} a run", steps: "Steps",
    stepsOf: "{calls} tool calls", fallbacks: "Fallbacks", fallbacksOf: "{attempts} failed attempts",
    confirmations: "Confirmations", confirmationsOf: "answered, of those asked", questions: "Questions",
    questionsOf: "answered, of those asked", unknown: "Unknown effects", unknownOf: "calls cut off by a crash",
    outcomes: "Runs by outcome", use: "Use", measure: "Measure", asTable: "As a table", time: "Time",
    outcomesTold: "Runs by outcome, {bucket}: {runs} in all, {succeeded} succeeded, {failed} failed, {cancelled} cancelled.",
    useTold: "{measure}, {bucket}: {sum} in all, {most} at most.", hour: "by hour", dayBucket: "by day",
    by: "Runs by", dimension: "Dimension", agent: "Agent", model: "Model", skill: "Skill", mode: "Mode",
    department: "Department", task_type: "Kind of task", none: "(none)", p50: "p50", p95: "p95", p99: "p99", noRows: "Nothing.",
    tools: "Tools", tool: "Tool", calls: "Calls", errorRate: "Errors", mean: "Mean", errors: "Failures by class",
    errorClass: "Class", share: "Share", pitfalls: "Pitfalls: failures that repeat", where: "Where", what: "What",
    failures: "Failures", last: "Last", noPitfalls: "None found.", ofCalls: "{failures} of {calls} calls", for: "for example",
    experiences: "Newest experiences", outcome: "Outcome", any: "any", success: "success", failure: "failure",
    cancelled: "cancelled", search: "Text", searchHint: "words of the goal…", ended: "Ended", goal: "Goal", took: "Took",
    more: "More", noGoal: "(no text)", noMatch: "Nothing matches.", arrived: "{count} more have ended.",
    result: "Answer", problem: "Problem", toolsUsed: "Tools", events: "Events", eventsOf: "{first} to {last} of {conversation}",
    asOf: "As of", now: "Now", asOfTold: "as of {moment}", group: "Only", everything: "everything",
    onlyOf: "{whose}, {dimension}: {value}",
    ofAllOnly: "Counted for everything together, not for one group.",
    openIt: "open the conversation", owner: "Owner", errorsOf: "{name}: {calls} ({errors} failed)", callsOf: "{name}: {calls}",
  },
  zh: {
    dashboard: "仪表板", api: "接口", language: "语言", askKey: "此服务需要 API 密钥。", enter: "进入",
    wrongKey: "该密钥在此无效。", live: "实时", lost: "连接已断开，正在重试…",
    unreachable: "无法连接到服务。", period: "时间范围", day: "24 小时", week: "7 天", month: "30 天",
    everybody: "所有人的任务", ownerOnly: "{owner} 的任务", range: "{since} – {until}（{zone}），{whose}",
    nothing24h: "这 24 小时内没有任务结束。", nothing7d: "这 7 天内没有任务结束。", nothing30d: "这 30 天内没有任务结束。",
    figures: "指标", runs: "任务", runsOf: "成功 {succeeded}，失败 {failed}，取消 {cancelled}",
    rate: "成功率", rateOf: "仅计自行结束的任务", durations: "p50 / p95 / p99",
    durationsOf: "计时任务 {timed} 个", durationsNone: "没有计时任务", tokens: "令牌",
    tokensOf: "输入 {prompt}，输出 {completion}", cost: "费用", costOf: "平均每个任务 {mean}", steps: "步骤",
    stepsOf: "工具调用 {calls} 次", fallbacks: "模型降级", fallbacksOf: "失败尝试 {attempts} 次",
    confirmations: "确认请求", confirmationsOf: "已答复 / 已请求", questions: "提问",
    questionsOf: "已回答 / 已提出", unknown: "结果未知", unknownOf: "因崩溃中断的调用",
    outcomes: "任务结果", use: "用量", measure: "度量", asTable: "以表格显示", time: "时间",
    outcomesTold: "任务结果，{bucket}：共 {runs}，成功 {succeeded}，失败 {failed}，取消 {cancelled}。",
    useTold: "{measure}，{bucket}：共 {sum}，最高 {most}。", hour: "按小时", dayBucket: "按天",
    by: "任务分组", dimension: "维度", agent: "智能体", model: "模型", skill: "技能", mode: "模式",
    department: "部门", task_type: "任务类型", none: "（无）", p50: "p50", p95: "p95", p99: "p99", noRows: "暂无。",
    tools: "工具", tool: "工具", calls: "调用", errorRate: "错误率", mean: "平均", errors: "失败分类",
    errorClass: "类别", share: "占比", pitfalls: "陷阱：反复出现的失败", where: "位置", what: "内容",
    failures: "失败", last: "最近", noPitfalls: "未发现。", ofCalls: "{calls} 次调用中的 {failures} 次", for: "例如",
    experiences: "最新经验", outcome: "结果", any: "全部", success: "成功", failure: "失败",
    cancelled: "已取消", search: "文本", searchHint: "目标中的词…", ended: "结束时间", goal: "目标", took: "用时",
    more: "更多", noGoal: "（无文本）", noMatch: "没有匹配项。", arrived: "新结束 {count} 个。",
    result: "回答", problem: "问题", toolsUsed: "工具", events: "事件", eventsOf: "{conversation} 的第 {first} 至 {last} 条",
    asOf: "截至", now: "现在", asOfTold: "截至 {moment}", group: "仅看", everything: "全部", onlyOf: "{whose}，{dimension}：{value}",
    ofAllOnly: "仅对全部合计，不按单个分组计数。",
    openIt: "打开对话", owner: "所有者", errorsOf: "{name}：{calls} 次（失败 {errors} 次）", callsOf: "{name}：{calls} 次",
  },
};
const MISSING = "–";

let language = navigator.language.startsWith("zh") ? "zh" : "en";
let zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (!zone || zone === "Etc/Unknown") zone = "UTC";

export const currentLanguage = () => language;
export const currentZone = () => zone;
export function speak(chosen) { if (chosen in TEXTS) language = chosen; }

export const text = (name, values = {}) =>
  TEXTS[language][name].replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? MISSING));

// Writes the page's fixed texts, found by data-text (content), data-placeholder and data-label (aria-label).
export function writeTexts() {
  document.documentElement.lang = language;
  document.title = `Minutebook · ${text("dashboard")}`;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
}

const written = (value, options) => new Intl.NumberFormat(language, options).format(value);

const compact = (value, from) => written(value, value < from ? {} : { notation: "compact", maximumFractionDigits: 1 });
export const count = (value) => (value == null ? MISSING : compact(value, 100_000));
export const tick = (value) => compact(value, 10_000); // room is short beside a chart

export const percent = (share) =>
  share == null ? MISSING : written(share, { style: "percent", maximumFractionDigits: share < 0.0995 || share > 0.9 ? 1 : 0 });

// Small sums keep two digits that matter: a run may cost a hundredth of a cent.
export function money(usd) {
  if (usd == null) return MISSING;
  const digits = usd > 0 && usd < 1 ? Math.min(9, Math.max(2, 1 - Math.floor(Math.log10(usd)))) : 2;
  return written(usd, {
    style: "currency", currency: "USD", currencyDisplay: "narrowSymbol",
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
}

const unit = (value, name, digits = 0) =>
  written(value, { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: digits });

export function duration(seconds) {
  if (seconds == null) return MISSING;
  if (seconds < 0.9995) return unit(seconds * 1000, "millisecond");
  if (seconds < 59.95) return unit(seconds, "second", seconds < 9.95 ? 1 : 0);
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? unit(minutes, "minute") : `${unit(Math.floor(minutes / 60), "hour")} ${unit(minutes % 60, "minute")}`;
}

const at = (moment, options) => new Intl.DateTimeFormat(language, { timeZone: zone, ...options }).format(new Date(moment));
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const DATE = { month: "short", day: "numeric" };
export const clock = (moment) => at(moment, CLOCK);
export const date = (moment) => at(moment, DATE);
export const dateAndClock = (moment) => at(moment, { ...DATE, ...CLOCK });
export const moment = (time) => at(time, { dateStyle: "medium", timeStyle: "medium" });
export const exactly = (moment) => at(moment, { dateStyle: "full", timeStyle: "long" });
