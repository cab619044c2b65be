// One conversation: what was said on the left, its minutes on the right. Both survive a dropped socket and a reload:
// the portal's socket resumes every open task behind the last offset that was shown of it, the feed behind its cursor.
import { Asks } from "./app_asks.js";
import { Line } from "./app_line.js";
import { Meetings } from "./app_meetings.js";
import { Outbox } from "./app_outbox.js";
import { Talk, keepEnd } from "./app_talk.js";
import { filled, texts, writeTexts } from "./app_texts.js";
import { door } from "./door.js";

const LISTED = 200, MESSAGES = 200, TASKS = 200, RETRY_MS = 2_000;
const $ = (id) => document.getElementById(id);
writeTexts();

let key = new URLSearchParams(location.search).get("api_key"); // one that was typed is gone with the page
let conversation = null, portal = null, feed = null, cursor = null;
let visit = 0; // counts conversations that were opened: what is answered to an earlier one is dropped
let seen = 0; // up to this offset the messages were there when it was opened
// `tasks`: up to which offset each was shown, of those that have not ended. `told`: messages that are there already.
// `own`: messages that were sent from here.
const tasks = new Map(), over = new Set(), told = new Set(), own = new Set();
const talk = new Talk($("messages")), meetings = new Meetings({ texts, talk });
const asks = new Asks({
  texts, show: (node) => talk.append(node), send: (frame) => portal.send(frame), answered: () => $("input").focus(),
});
const outbox = new Outbox((frame) => portal.send(frame));

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
  if (door.isOpen) return;
  outbox.again();
  leave(conversation);
  tell(key ? texts.wrongKey : "");
  key = null;
  history.replaceState(null, "", location.pathname + location.hash); // a key that is of no use
  door.open();
}

function showStep(name, data, task) {
  if (name === "token") talk.draft(data.answer_id, task, data);
  else if (name === "final_answer" || (name === "step" && data.kind === "interrupted")) {
    talk.dropAll(task);
    if (!told.has(data.message_id)) talk.show("assistant", data.content);
  } else if (name === "thinking" && !data.partial) {
    talk.dropAll(task); // what came live was no answer
    talk.show("step", data.content);
  } else if (name === "tool_call") talk.show("step", `${data.name}(${JSON.stringify(data.arguments)})`);
  else if (name === "tool_result") talk.show("step", `→ ${data.content}`);
  else {
    asks.take(name, data, task);
    meetings.take(name, data, task);
    if (name === "ask_human") answerNext();
  }
}

// Who waits to write on writes the answer: typed below, it would be a message that waits behind the question.
function answerNext() {
  const { activeElement } = document;
  if (activeElement === $("input") && !activeElement.value) $("messages").querySelector(".ask textarea")?.focus();
}

function began(task, offset) {
  tasks.set(task, offset);
  $("cancel").hidden = false;
}

function ended(task) {
  tasks.delete(task);
  over.add(task);
  talk.end(task);
  asks.end(task);
  $("cancel").hidden = tasks.size === 0;
  refreshList();
}

// A socket belongs to the conversation that is open: what others come to is not shown here.
function openPortal() {
  portal = new Line({
    address: () => "/api/v1/portal/ws", key: () => key, opened: resume, received: receive, refused: askKey,
    accepted: () => {
      $("state").textContent = texts.connected;
      $("cancel").disabled = false;
    },
    lost: () => {
      $("state").textContent = texts.lost;
      $("cancel").disabled = true;
      outbox.again();
    },
  });
}

function follow(task) {
  portal.send({ type: "resume", task_id: task, conversation_id: conversation, after: tasks.get(task) });
}

function resume() {
  asks.ready();
  outbox.flush(conversation);
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
  return found.filter(({ run }) => isOfPerson(run)).map((one) => one.task_id).reverse();
}

const isOfPerson = ({ parent, mode }) => !parent && mode !== "operation";

function receive(frame) {
  const task = frame.task_id ?? frame.data?.task_id;
  if (over.has(task) || (frame.offset && frame.offset <= tasks.get(task))) return; // shown before
  if (frame.type === "routing") began(task, frame.offset ?? 0);
  else if (frame.offset && tasks.has(task)) tasks.set(task, frame.offset);
  if (frame.type === "connected" && conversation === null) {
    conversation = frame.conversation_id;
    keepAddress();
    openFeed();
    refreshList();
    outbox.flush(conversation);
  } else if (frame.type === "step") showStep(frame.data.event_type.replace("turn.", ""), frame.data.data, task);
  else if (frame.type === "result") {
    const { status, message } = frame.data;
    if (status) talk.show("step", texts[status] ?? message);
    ended(task);
  } else if (frame.type === "error") {
    talk.show("error", frame.data.message);
    if (tasks.has(task)) ended(task);
    else if (!task) refused();
  } else if (frame.data) meetings.take(frame.type, frame.data, task);
}

// Something that was sent was not taken: it can be sent again.
function refused() {
  asks.ready();
  const message = outbox.refused();
  if (message !== null) putBack([message]);
  outbox.flush(conversation);
}

function putBack(messages) {
  $("input").value = [...messages, $("input").value].filter(Boolean).join("\n");
}

function openFeed() {
  const path = `/api/v1/conversations/${encodeURIComponent(conversation)}/feed`;
  feed = new Line({
    address: () => (cursor ? `${path}?${new URLSearchParams({ after: cursor })}` : path),
    key: () => key, refused: askKey,
    received: (frame) => {
      if (frame.answer === "cannot") { // another log
        outbox.again();
        return open(conversation);
      }
      if (frame.cursor) $("cursor").textContent = cursor = frame.cursor;
      if (frame.events) keepEnd($("minutes"), () => frame.events.forEach(showEvent));
      for (const event of frame.events ?? []) hear(event);
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
}

// What was said since, here or elsewhere.
function hear({ offset, type, payload, task_id: task }) {
  if (offset <= seen) return;
  if (type === "conversation.deleted") open(null, texts.gone);
  else if (type === "message.received") {
    if (outbox.taken(payload.client_message_id)) own.add(payload.message_id);
    else talk.show("user", payload.content);
  } else if (type === "run.requested" && isOfPerson(payload) && !tasks.has(task) && !over.has(task)) {
    began(task, 0);
    if (!own.has(payload.message_id)) follow(task);
  }
}

const refreshList = () => attempt(async () => {
  const found = await ask(`portal/conversations?limit=${LISTED}`);
  const focused = $("list").contains(document.activeElement) ? document.activeElement.dataset.id : null;
  $("list").replaceChildren(...found.map(({ id, title }) => {
    const item = document.createElement("li"), button = item.appendChild(document.createElement("button"));
    button.textContent = title;
    button.dataset.id = id;
    if (id === conversation) button.setAttribute("aria-current", "true");
    button.onclick = () => open(id);
    return item;
  }));
  if (found.length === LISTED) $("list").append(Object.assign(document.createElement("li"), { textContent: texts.someListed }));
  [...$("list").querySelectorAll("button")].find((button) => button.dataset.id === focused)?.focus();
});

// Nothing of a conversation is left on the page, and nothing more comes of it; its tasks go on.
function leave(id) {
  visit += 1;
  portal?.close();
  feed?.close();
  putBack(outbox.clear());
  for (const known of [tasks, over, told, own, asks, talk]) known.clear();
  conversation = id;
  cursor = null;
  seen = 0;
  $("state").textContent = "";
  $("messages").dataset.hint = id === null ? texts.hint : "";
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
  if (notice) talk.show("error", notice);
  refreshList();
  if (id !== null) {
    try {
      await showPast(id);
    } catch (error) {
      if (error instanceof Outdated) return;
      if (error.status === 404 || error.status === 400) return open(null, texts.gone);
      talk.show("error", error.message);
      setTimeout(() => mine === visit && open(id), RETRY_MS);
      return;
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
  seen = offset;
  if (messages.length === MESSAGES) talk.show("step", filled(texts.someShown, { count: MESSAGES }));
  for (const message of messages) {
    told.add(message.id);
    if (message.role === "assistant") answered.add(message.metadata.task_id);
    showMessage(message);
  }
  for (const task of found) began(task, answered.has(task) ? offset : 0);
}

function showMessage({ role, content, metadata, thinking, tool_calls: calls = [], message_type: type, ...message }) {
  const task = metadata.task_id;
  if (type === "board_started") return meetings.take(type, message.board_started, task);
  if (type === "board_summary") return meetings.summary(message.expert_name, { content, round: message.board_round });
  if (thinking) talk.show("step", thinking);
  for (const call of calls) {
    talk.show("step", `${call.name}(${call.arguments})`);
    if (call.result) talk.show("step", `→ ${call.result}`);
  }
  for (const { name, data } of metadata.steps ?? []) {
    asks.take(name, data, task);
    meetings.take(name, data, task, true);
  }
  asks.clear();
  if (content) talk.show(metadata.status === "failed" ? "error" : role, content, message.expert_name);
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
  door.close();
}

door.entered((entered) => {
  key = entered;
  tell("");
  enter();
  open(conversation);
});
$("form").onsubmit = (event) => {
  event.preventDefault();
  const message = $("input").value.trim();
  if (!message) return;
  $("input").value = "";
  const node = talk.showOwn(message);
  node.dataset.pending = texts.pending;
  outbox.add(message, node);
  if (portal?.isOpen) outbox.flush(conversation);
};
$("input").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
};
$("cancel").onclick = () => portal.send({ type: "cancel" });
$("new").onclick = () => { open(null); $("input").focus(); };
window.onhashchange = fromAddress;
enter();
fromAddress();
