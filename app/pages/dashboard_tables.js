// Elements and tables. Everything from people goes in as text nodes, never as markup.
import { clock, count, date, dateAndClock, duration, exactly, money, percent, text } from "./dashboard_texts.js";

export function make(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// columns: [{ head, cell: row -> text or node, isNumber?, isHead? }]. `caption` is for readers only.
export function fillTable(table, caption, columns, rows, empty = text("noRows")) {
  const heads = columns.map(({ head, isNumber }) => make("th", { scope: "col", className: isNumber ? "number" : "" }, head));
  const body = rows.length
    ? rows.map((row) => make("tr", {}, ...columns.map((column) => cell(column, row))))
    : [make("tr", {}, make("td", { colSpan: columns.length, className: "empty" }, empty))];
  table.replaceChildren(
    make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
}

function cell({ cell: content, isNumber, isHead }, row) {
  const node = make(isHead ? "th" : "td", { className: isNumber ? "number" : "" }, content(row));
  if (isHead) node.scope = "row";
  return node;
}

// A share as a bar behind its number; 0-1.
function shareOf(share, className = "") {
  if (share == null) return percent(share);
  const bar = make("meter", { className, min: 0, max: 1, value: share });
  bar.setAttribute("aria-hidden", "true");
  return make("span", { className: "share" }, bar, make("span", {}, percent(share)));
}

const number = (head, cell) => ({ head, cell, isNumber: true });
const percentiles = ["p50", "p95", "p99"].map((name) => ({ name, key: `${name}_seconds` }));
const percentileColumns = () =>
  percentiles.map(({ name, key }) => number(text(name), (row) => duration(row.durations?.[key])));

export function showFigures(list, { figures: f, durations: d }) {
  const entries = [
    ["runs", count(f.runs), text("runsOf", { succeeded: count(f.succeeded), failed: count(f.failed), cancelled: count(f.cancelled) })],
    ["rate", percent(f.success_rate), text("rateOf")],
    ["durations", percentiles.map(({ key }) => duration(d?.[key])).join(" / "),
      d ? text("durationsOf", { timed: count(d.timed) }) : text("durationsNone")],
    ["tokens", count(f.total_tokens), text("tokensOf", { prompt: count(f.prompt_tokens), completion: count(f.completion_tokens) })],
    ["cost", money(f.cost_usd), text("costOf", { mean: money(f.runs ? f.cost_usd / f.runs : null) })],
    ["steps", count(f.steps), text("stepsOf", { calls: count(f.tool_calls) })],
    ["fallbacks", count(f.fallbacks), text("fallbacksOf", { attempts: count(f.attempts_failed) })],
    ["confirmations", `${count(f.confirmations_answered)} / ${count(f.confirmations_asked)}`, text("confirmationsOf")],
    ["questions", `${count(f.questions_answered)} / ${count(f.questions_asked)}`, text("questionsOf")],
    ["unknown", count(f.effects_unknown), text("unknownOf")],
  ];
  list.replaceChildren(...entries.map(([name, value, about]) => {
    const entry = make("div", {}, make("dt", {}, text(name)), make("dd", {}, value), make("dd", { className: "about" }, about));
    entry.dataset.figure = name;
    return entry;
  }));
}

// `chosen`: the value of the one group that the page is narrowed to, if it is to one of these.
export function showGroups(table, dimension, groups, chosen = null) {
  fillTable(table, `${text("by")} ${text(dimension)}`, [
    { head: text(dimension), cell: (row) => row.value || text("none"), isHead: true },
    number(text("runs"), (row) => count(row.runs)),
    number(text("rate"), (row) => shareOf(row.success_rate)),
    ...percentileColumns(),
    number(text("steps"), (row) => count(row.steps)),
    number(text("calls"), (row) => count(row.tool_calls)),
    number(text("tokens"), (row) => count(row.total_tokens)),
    number(text("cost"), (row) => money(row.cost_usd)),
  ], groups);
  groups.forEach(({ value }, index) => {
    if (value === chosen) Object.assign(table.tBodies[0].rows[index], { className: "chosen", ariaCurrent: "true" });
  });
}

// Nothing where the page is narrowed to a group: what is counted for everything only is not passed off as its own.
export function showNoneOf(table, name) {
  const told = make("tbody", {}, make("tr", {}, make("td", { className: "empty" }, text("ofAllOnly"))));
  table.replaceChildren(make("caption", {}, text(name)), told);
}

export function showTools(table, tools) {
  fillTable(table, text("tools"), [
    { head: text("tool"), cell: (row) => row.tool, isHead: true },
    number(text("calls"), (row) => count(row.calls)),
    number(text("errorRate"), (row) => shareOf(row.error_rate, "bad")),
    number(text("mean"), (row) => duration(row.mean_seconds)),
    ...percentileColumns(),
  ], tools);
}

export function showErrors(table, errors) {
  const all = errors.reduce((sum, { runs }) => sum + runs, 0);
  fillTable(table, text("errors"), [
    { head: text("errorClass"), cell: (row) => row.error_class || text("none"), isHead: true },
    number(text("runs"), (row) => count(row.runs)),
    number(text("share"), (row) => shareOf(row.runs / all, "bad")),
  ], errors);
}

export function showPitfalls(table, pitfalls) {
  fillTable(table, text("pitfalls"), [
    { head: text("where"), cell: whereOf, isHead: true },
    { head: text("what"), cell: whatOf },
    number(text("failures"), (row) => (row.calls ? text("ofCalls", { failures: count(row.failures), calls: count(row.calls) }) : count(row.failures))),
    number(text("last"), (row) => moment(row.last_at)),
  ], pitfalls, text("noPitfalls"));
}

const whereOf = ({ kind, tool, task_type: task, agent }) =>
  kind === "tool" ? `${text("tool")} ${tool}` : [task, agent].filter(Boolean).join(" · ") || text("none");

function whatOf({ error_class: error, examples = [] }) {
  const goal = examples.map((one) => one.goal).find(Boolean);
  const node = make("span", {}, error);
  if (goal) node.append(make("span", { className: "about" }, `${error ? " · " : ""}${text("for")}: ${goal}`));
  return node;
}

function moment(at) {
  const node = make("time", { dateTime: at, title: exactly(at) }, dateAndClock(at));
  return node;
}

export const barsOf = ({ timeline, bucket }, values) => timeline.map((one) => ({
  label: bucket === "hour" ? clock(one.start) : date(one.start),
  head: bucket === "hour" ? dateAndClock(one.start) : date(one.start),
  values: values(one),
}));

// The list of experiences keeps the rows that it has: what is open stays open when another arrives.
export class ExperienceTable {
  constructor(table) {
    this.head = make("thead");
    this.caption = make("caption");
    this.body = make("tbody");
    this.rows = new Map();
    table.append(this.caption, this.head, this.body);
  }

  // `hrefOf`: the address of a conversation, or null where whoever looks cannot open it.
  show(experiences, { hrefOf, arrived = new Set(), rewrite = false }) {
    this.caption.textContent = text("experiences");
    const names = ["ended", "outcome", "goal", "task_type", "agent", "model", "took", "steps", "tokens", "cost"];
    const numbers = new Set(["took", "steps", "tokens", "cost"]);
    this.head.replaceChildren(make("tr", {}, ...names.map((name) =>
      make("th", { scope: "col", className: numbers.has(name) ? "number" : "" }, text(name)))));
    if (rewrite) this.rows.clear();
    const kept = new Map(experiences.map((one) => [one.id, this.rows.get(one.id) ?? experienceRow(one, hrefOf)]));
    this.rows = kept;
    const rows = [...kept.values()];
    for (const [id, row] of kept) row.classList.toggle("arrived", arrived.has(id));
    if (!rows.length) rows.push(make("tr", {}, make("td", { colSpan: names.length, className: "empty" }, text("noMatch"))));
    rows.forEach((row, index) => this.body.children[index] !== row && this.body.insertBefore(row, this.body.children[index] ?? null));
    while (this.body.children.length > rows.length) this.body.lastChild.remove();
  }
}

function experienceRow(one, hrefOf) {
  const summary = make("summary", {}, one.goal || text("noGoal"));
  const details = make("details", {}, summary);
  details.addEventListener("toggle", () => details.childElementCount === 1 && details.append(aboutOf(one, hrefOf)), { once: true });
  const outcome = make("span", { className: `outcome ${one.outcome}` }, text(one.outcome));
  const cells = [
    [moment(one.created_at)], [outcome], [details], [one.task_type], [one.agent], [one.model],
    [duration(one.duration_seconds), true], [count(one.steps), true],
    [count(one.prompt_tokens + one.completion_tokens), true], [money(one.cost_usd), true],
  ];
  const row = make("tr", {}, ...cells.map(([content, isNumber]) => make("td", { className: isNumber ? "number" : "" }, content)));
  row.dataset.id = one.id;
  return row;
}

function aboutOf(one, hrefOf) {
  const list = make("dl", { className: "about" });
  const add = (name, ...content) => list.append(make("dt", {}, text(name)), make("dd", {}, ...content));
  if (one.result) add("result", one.result);
  if (one.error_class || one.problem) add("problem", [one.error_class, one.problem].filter(Boolean).join(": "));
  const tools = Object.entries(one.tools ?? {}).map(([name, { calls, errors }]) => text(errors ? "errorsOf" : "callsOf", { name, calls, errors }));
  if (tools.length) add("toolsUsed", tools.join(" · "));
  for (const name of ["skill", "mode", "department", "owner"]) if (one[name]) add(name, one[name]);
  const events = text("eventsOf", { first: one.first_offset, last: one.last_offset, conversation: one.conversation_id });
  const href = hrefOf(one);
  if (href) add("events", events, " · ", make("a", { href }, text("openIt")));
  else add("events", events);
  return list;
}
