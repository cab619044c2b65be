// One conversation: what was said on the left, its minutes on the right. Both survive a dropped socket:
// the portal socket resumes its task behind the last offset seen, the feed behind its cursor.
const TEXTS = {
  en: { api: "API", dashboard: "Dashboard", new: "New conversation", placeholder: "Write a message…", send: "Send", cancel: "Cancel",
        minutes: "The minutes", connected: "connected", lost: "connection lost, trying again…", cancelled: "cancelled" },
  zh: { api: "接口", dashboard: "仪表板", new: "新对话", placeholder: "输入消息…", send: "发送", cancel: "取消",
        minutes: "会议纪要", connected: "已连接", lost: "连接已断开，正在重试…", cancelled: "已取消" },
};
const texts = TEXTS[navigator.language.startsWith("zh") ? "zh" : "en"];
const $ = (id) => document.getElementById(id);
for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts[node.dataset.text];
for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = texts[node.dataset.placeholder];

const key = new URLSearchParams(location.search).get("api_key");
if (key) $("dashboard").search = new URLSearchParams({ api_key: key });
const headers = key ? { "X-API-Key": key } : {};
const query = (values) => new URLSearchParams({ ...values, ...(key ? { api_key: key } : {}) });
const socketBase = location.origin.replace("http", "ws") + "/api/v1";
let conversation = null, task = null, seen = 0, portal = null, feed = null, cursor = null, drafts = new Map();

function show(kind, content, into = null) {
  const node = into ?? $("messages").appendChild(document.createElement("div"));
  node.className = ["user", "assistant", "error"].includes(kind) ? `message ${kind}` : "step";
  node.textContent = content;
  $("messages").scrollTop = $("messages").scrollHeight;
  return node;
}

function showStep({ event_type: type, data }) {
  const id = data.answer_id;
  if (type === "turn.token") {
    const node = drafts.get(id) ?? show("assistant", "");
    drafts.set(id, node);
    show("assistant", (data.reset ? "" : node.textContent) + data.content, node);
  } else if (type === "turn.final_answer") {
    for (const node of drafts.values()) node.remove();
    drafts.clear();
    show("assistant", data.content);
  } else if (type === "turn.thinking" && !data.partial) show("step", data.content);
  else if (type === "turn.tool_call") show("step", `${data.name}(${JSON.stringify(data.arguments)})`);
  else if (type === "turn.tool_result") show("step", `→ ${data.content}`);
}

function ended() { task = null; $("cancel").hidden = true; refreshList(); }

function openPortal() {
  portal = new WebSocket(`${socketBase}/portal/ws?${query({})}`);
  const ping = setInterval(() => portal.readyState === 1 && portal.send('{"type":"ping"}'), 30000);
  portal.onopen = () => {
    $("state").textContent = texts.connected;
    if (task) portal.send(JSON.stringify({ type: "resume", task_id: task, conversation_id: conversation, after: seen }));
  };
  portal.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.offset) seen = Math.max(seen, frame.offset);
    if (frame.type === "connected") openFeed(frame.conversation_id);
    else if (frame.type === "routing") { task = frame.task_id; $("cancel").hidden = false; }
    else if (frame.type === "step") showStep(frame.data);
    else if (frame.type === "result") { if (frame.data.status) show("step", texts[frame.data.status]); ended(); }
    else if (frame.type === "error") { show("error", frame.data.message); ended(); }
  };
  portal.onclose = () => {
    clearInterval(ping);
    $("state").textContent = texts.lost;
    setTimeout(openPortal, 1000 + Math.random() * 1000);
  };
}

function openFeed(id) {
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);  // a reload opens it again
  if (conversation !== id || !feed) { conversation = id; cursor = null; $("events").replaceChildren(); }
  else if (feed.readyState < 2) return;
  feed?.close();
  const socket = feed = new WebSocket(
    `${socketBase}/conversations/${encodeURIComponent(id)}/feed?${query(cursor ? { after: cursor } : {})}`);
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.cursor) $("cursor").textContent = cursor = frame.cursor;
    for (const event of frame.events ?? []) showEvent(event);
  };
  socket.onclose = () => socket === feed && setTimeout(() => socket === feed && openFeed(id), 1500);
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

async function refreshList() {
  const response = await fetch(`/api/v1/portal/conversations?limit=50`, { headers });
  if (!response.ok) return show("error", (await response.json()).detail);
  $("list").replaceChildren(...(await response.json()).map(({ id, title }) => {
    const item = document.createElement("li"), button = item.appendChild(document.createElement("button"));
    button.textContent = title;
    if (id === conversation) button.setAttribute("aria-current", "true");
    button.onclick = () => openConversation(id);
    return item;
  }));
}

async function openConversation(id) {
  const response = await fetch(`/api/v1/portal/conversations/${encodeURIComponent(id)}?limit=200`, { headers });
  if (!response.ok) return show("error", (await response.json()).detail);
  $("messages").replaceChildren();
  task = null; seen = 0; drafts.clear();
  for (const message of (await response.json()).messages) {
    if (message.thinking) show("step", message.thinking);
    for (const call of message.tool_calls ?? []) {
      show("step", `${call.name}(${call.arguments})`);
      if (call.result) show("step", `→ ${call.result}`);
    }
    show(message.metadata.status === "failed" ? "error" : message.role, message.content);
  }
  openFeed(id);
  refreshList();
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  const message = $("input").value.trim();
  if (!message || portal.readyState !== 1) return;
  show("user", message);
  portal.send(JSON.stringify({ type: "chat", message, ...(conversation ? { conversation_id: conversation } : {}) }));
  $("input").value = "";
};
$("input").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
};
$("cancel").onclick = () => portal.send('{"type":"cancel"}');
$("new").onclick = () => {
  conversation = task = cursor = null; seen = 0;
  history.replaceState(null, "", location.pathname + location.search);
  const old = feed; feed = null; old?.close();
  $("messages").replaceChildren(); $("events").replaceChildren(); $("cursor").textContent = "";
  $("input").focus();
};
openPortal();
if (location.hash.length > 1) openConversation(decodeURIComponent(location.hash.slice(1)));
else refreshList();
