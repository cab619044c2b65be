// One conversation: what was said on the left, its minutes on the right. Both survive a dropped socket and a reload:
// the portal's socket resumes every open task behind the last offset that was shown of it, the feed behind its cursor.
import { Asks } from "./app_asks.js";
import { Line } from "./app_line.js";

const TEXTS = {
  en: {
    language: "en", api: "API", dashboard: "Dashboard", new: "New conversation", placeholder: "Write a message…", send: "Send",
    cancel: "Cancel", minutes: "The minutes", connected: "connected", lost: "connection lost, trying again…",
    cancelled: "cancelled", askKey: "This service asks for an API key.", enter: "Enter",
    wrongKey: "This key is not valid here.", unreachable: "The service cannot be reached.",
    gone: "This conversation is gone, or was never there.", answer: "Answer", consent: "May this be done?",
    approve: "Allow", refuse: "Refuse", deadline: "until {time}", unanswered: "nobody answered",
    approved: "allowed", refused: "refused", expired: "nobody answered, so it was refused",
  },
  zh: {
    language: "zh", api: "接口", dashboard: "仪表板", new: "新对话", placeholder: "输入消息…", send: "发送",
    cancel: "取消", minutes: "会议纪要", connected: "已连接", lost: "连接已断开，正在重试…",
    cancelled: "已取消", askKey: "此服务需要 API 密钥。", enter: "进入",
    wrongKey: "该密钥在此无效。", unreachable: "无法连接到服务。",
    gone: "该对话已不存在，或从未有过。", answer: "回答", consent: "是否允许执行？",
    approve: "允许", refuse: "拒绝", deadline: "截止时间：{time}", unanswered: "无人回答",
    approved: "已允许", refused: "已拒绝", expired: "无人回应，视为拒绝",
  },
};
const LISTED = 50, MESSAGES = 200, TASKS = 200;
const texts = TEXTS[navigator.language.startsWith("zh") ? "zh" : "en"];
const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
document.documentElement.lang = texts.language;
for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts[node.dataset.text];
for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = texts[node.dataset.placeholder];

let key = new URLSearchParams(location.search).get("api_key"); // one that was typed is gone with the page
let conversation = null, portal = null, feed = null, cursor = null;
let visit = 0; // counts conversations that were opened: what is answered to an earlier one is dropped
// `tasks`: up to which offset each was shown, of those that have not ended. `told`: messages that are there already.
const tasks = new Map(), over = new Set(), drafts = new Map(), told = new Set();
const asks = new Asks({ texts, show: append, send: (frame) => portal.send(frame) });

class Outdated extends Error {}

async function ask(path) {
  const mine = visit;
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, { headers: key ? { "X-API-Key": key } : {} });
  } catch {
    throw mine === visit ? new Error(texts.unreachable) : new Outdated();
  }
  const answer = await response.json().catch(() => ({}));
  if (mine !== visit) throw new Outdated();
  if (response.ok) return answer;
  if (response.status === 401) {
    askKey();
    throw new Outdated();
  }
  const sentence = answer.detail ?? `${response.status} ${response.statusText}`;
  throw Object.assign(new Error(sentence), { status: response.status });
}

// What else went wrong, until the next call goes well. "": nothing.
function tell(message) {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
}

async function attempt(work) {
  try {
    await work();
    tell("");
  } catch (error) {
    if (!(error instanceof Outdated)) tell(error.message);
  }
}

function askKey() {
  if (!$("door").hidden) return;
  leave(conversation);
  tell(key ? texts.wrongKey : "");
  key = null;
  history.replaceState(null, "", location.pathname + location.hash); // a key that is of no use
  main.hidden = true;
  $("door").hidden = false;
  $("key").value = "";
  $("key").focus();
}

function append(node) {
  $("messages").append(node);
  $("messages").scrollTop = $("messages").scrollHeight;
}

function show(kind, content, into = null) {
  const last = $("messages").lastElementChild;
  if (kind === "error" && last?.matches(".error") && last.textContent === content) return last;
  const node = into ?? document.createElement("div");
  node.className = ["user", "assistant", "error"].includes(kind) ? `message ${kind}` : "step";
  node.textContent = content;
  if (into) $("messages").scrollTop = $("messages").scrollHeight;
  else append(node);
  return node;
}

function showStep(name, data, task) {
  if (name === "token") {
    const node = drafts.get(data.answer_id)?.node ?? show("assistant", "");
    drafts.set(data.answer_id, { node, task });
    show("assistant", (data.reset ? "" : node.textContent) + data.content, node);
  } else if (name === "final_answer" || (name === "step" && data.kind === "interrupted")) {
    dropDrafts(task);
    if (!told.has(data.message_id)) show("assistant", data.content);
  } else if (name === "thinking" && !data.partial) {
    dropDrafts(task); // what came live was no answer
    show("step", data.content);
  } else if (name === "tool_call") show("step", `${data.name}(${JSON.stringify(data.arguments)})`);
  else if (name === "tool_result") show("step", `→ ${data.content}`);
  else asks.take(name, data, task);
}

function dropDrafts(task) {
  for (const [id, draft] of drafts) {
    if (draft.task !== task) continue;
    draft.node.remove();
    drafts.delete(id);
  }
}

function began(task, offset) {
  tasks.set(task, offset);
  $("cancel").hidden = false;
}

function ended(task) {
  tasks.delete(task);
  over.add(task);
  for (const [id, draft] of drafts) if (draft.task === task) drafts.delete(id);
  asks.end(task);
  $("cancel").hidden = tasks.size === 0;
  refreshList();
}

// A socket belongs to the conversation that is open: what others come to is not shown here.
function openPortal() {
  portal = new Line({
    address: () => "/api/v1/portal/ws", key: () => key, opened: resume, received: receive, refused: askKey,
    accepted: () => { $("state").textContent = texts.connected; },
    lost: () => { $("state").textContent = texts.lost; },
  });
}

function resume() {
  asks.ready();
  const follow = (task) =>
    portal.send({ type: "resume", task_id: task, conversation_id: conversation, after: tasks.get(task) });
  for (const task of tasks.keys()) follow(task);
  if (conversation === null) return;
  attempt(async () => { // begun meanwhile, here or elsewhere
    for (const task of await openTasks(conversation)) {
      if (tasks.has(task) || over.has(task)) continue;
      began(task, 0);
      follow(task);
    }
  });
}

// Those that a person has begun: what these begin themselves is shown with them.
async function openTasks(id) {
  const query = new URLSearchParams({ conversation_id: id, status: "pending,running,waiting", limit: TASKS });
  const { tasks: found } = await ask(`tasks?${query}`);
  return found.filter(({ run }) => !run.parent && run.mode !== "operation").map((one) => one.task_id).reverse();
}

function receive(frame) {
  const task = frame.task_id ?? frame.data?.task_id;
  if (frame.offset && frame.offset <= tasks.get(task)) return; // shown before
  if (frame.type === "routing") began(task, frame.offset ?? 0);
  else if (frame.offset && tasks.has(task)) tasks.set(task, frame.offset);
  if (frame.type === "connected" && conversation === null) {
    conversation = frame.conversation_id;
    keepAddress();
    openFeed();
    refreshList();
  } else if (frame.type === "step") showStep(frame.data.event_type.replace("turn.", ""), frame.data.data, task);
  else if (frame.type === "result") {
    const { status, message } = frame.data;
    if (status) show("step", texts[status] ?? message);
    ended(task);
  } else if (frame.type === "error") {
    show("error", frame.data.message);
    if (tasks.has(task)) ended(task);
    else asks.ready();
  }
}

function openFeed() {
  const path = `/api/v1/conversations/${encodeURIComponent(conversation)}/feed`;
  feed = new Line({
    address: () => (cursor ? `${path}?${new URLSearchParams({ after: cursor })}` : path),
    key: () => key, refused: askKey,
    received: (frame) => {
      if (frame.answer === "cannot") {
        cursor = null; // of another log: from the beginning
        $("events").replaceChildren();
      } else if (frame.cursor) $("cursor").textContent = cursor = frame.cursor;
      for (const event of frame.events ?? []) showEvent(event);
    },
  });
}

function showEvent({ offset, type, payload }) {
  const { type: _, ...about } = payload;
  const item = $("events").appendChild(document.createElement("li"));
  const cell = (name, content) => {
    const node = document.createElement("span");
    node.className = name;
    node.textContent = content;
    return node;
  };
  const body = document.createElement("span");
  body.append(cell("type", type), cell("about", JSON.stringify(about).slice(0, 160)));
  item.append(cell("offset", offset), body);
  $("minutes").scrollTop = $("minutes").scrollHeight;
}

const refreshList = () => attempt(async () => {
  const found = await ask(`portal/conversations?limit=${LISTED}`);
  $("list").replaceChildren(...found.map(({ id, title }) => {
    const item = document.createElement("li"), button = item.appendChild(document.createElement("button"));
    button.textContent = title;
    if (id === conversation) button.setAttribute("aria-current", "true");
    button.onclick = () => open(id);
    return item;
  }));
});

// Nothing of a conversation is left on the page, and nothing more comes of it; its tasks go on.
function leave(id) {
  visit += 1;
  portal?.close();
  feed?.close();
  for (const known of [tasks, over, drafts, told, asks]) known.clear();
  conversation = id;
  cursor = null;
  $("state").textContent = "";
  $("messages").replaceChildren();
  $("events").replaceChildren();
  $("cursor").textContent = "";
  $("cancel").hidden = true;
  return visit;
}

// A reload opens it again.
function keepAddress() {
  const hash = conversation === null ? "" : `#${encodeURIComponent(conversation)}`;
  history.replaceState(null, "", location.pathname + location.search + hash);
}

// `id` null: a new one. `notice`: what is to be said first.
async function open(id, notice = "") {
  const mine = leave(id);
  keepAddress();
  if (notice) show("error", notice);
  refreshList();
  if (id !== null) {
    try {
      await showPast(id);
    } catch (error) {
      if (error instanceof Outdated) return;
      if (error.status === 404 || error.status === 400) return open(null, texts.gone);
      show("error", error.message);
    }
    if (mine !== visit) return;
    openFeed();
  }
  openPortal();
}

// Tasks are asked for first: one that ends meanwhile is in the messages, and resumed behind these.
async function showPast(id) {
  const found = await openTasks(id);
  const { messages, offset } = await ask(`portal/conversations/${encodeURIComponent(id)}?limit=${MESSAGES}`);
  const answered = new Set();
  for (const message of messages) {
    const { metadata } = message;
    told.add(message.id);
    if (message.role === "assistant" && !message.message_type) answered.add(metadata.task_id);
    if (message.thinking) show("step", message.thinking);
    for (const call of message.tool_calls ?? []) {
      show("step", `${call.name}(${call.arguments})`);
      if (call.result) show("step", `→ ${call.result}`);
    }
    for (const { name, data } of metadata.steps ?? []) asks.take(name, data, metadata.task_id);
    asks.clear();
    show(metadata.status === "failed" ? "error" : message.role, message.content);
  }
  for (const task of found) began(task, answered.has(task) ? offset : 0);
}

function fromAddress() {
  try {
    open(decodeURIComponent(location.hash.slice(1)) || null);
  } catch { // no such address is ever made here
    open(null, texts.gone);
  }
}

function enter() {
  $("dashboard").search = key ? new URLSearchParams({ api_key: key }) : "";
  $("door").hidden = true;
  main.hidden = false;
}

$("door").onsubmit = (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  tell("");
  enter();
  open(conversation);
};
$("form").onsubmit = (event) => {
  event.preventDefault();
  const message = $("input").value.trim();
  if (!message || !portal.isOpen) return;
  show("user", message);
  portal.send({ type: "chat", message, ...(conversation === null ? {} : { conversation_id: conversation }) });
  $("input").value = "";
};
$("input").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
};
$("cancel").onclick = () => portal.send({ type: "cancel" });
$("new").onclick = () => { open(null); $("input").focus(); };
window.onhashchange = fromAddress;
enter();
fromAddress();
