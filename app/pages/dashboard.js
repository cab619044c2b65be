// Figures of what has ended, and the newest experiences. The socket says that there is something new; what it is, is asked
// again over REST, at most so often. A dropped socket comes back behind its cursor, and everything is asked again then.
import { BarChart } from "./dashboard_charts.js";
import { Scope } from "./dashboard_scope.js";
import {
  ExperienceTable, barsOf, showErrors, showFigures, showGroups, showNoneOf, showPitfalls, showTools,
} from "./dashboard_tables.js";
import {
  count, currentLanguage, currentZone, dateAndClock, money, speak, text, writeTexts,
} from "./dashboard_texts.js";
import { door } from "./door.js";

const PAGE = 25, PAGES_MISSED_MAX = 8;
const METRICS_MS = 2_000, PITFALLS_MS = 15_000, EXPERIENCES_MS = 500, TYPING_MS = 300;
const SLIDE_MS = 300_000, PING_MS = 30_000, RETRY_MS = 1_000, RETRY_MS_MAX = 30_000;
const DEVELOPER = "local"; // whoever looks in development mode
const UNAUTHORIZED = 4001, NOT_FOUND = 4004;

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const owner = asked.get("owner");
let key = asked.get("api_key"); // kept nowhere else: one that was typed is gone with the page
const chosen = {
  period: oneOf("period", asked.get("period")) ?? "24h",
  dimension: oneOf("dimension", asked.get("by")) ?? "agent",
  measure: "total_tokens",
  language: remembered() ?? currentLanguage(),
};
const scope = new Scope({
  asked, dimensions: [...document.querySelectorAll("[data-dimension]")].map((node) => node.dataset.dimension),
  controls: { asOf: $("asOf"), now: $("now"), group: $("group") }, changed: rescoped,
});
const main = document.querySelector("main");
const outcomes = new BarChart($("outcomes")), use = new BarChart($("use"));
const table = new ExperienceTable($("experiences"));
// `metrics` are those of what is chosen, `whole` those of all groups.
let metrics = null, whole = null, tools = null, pitfalls = null;
let experiences = new Map(), following = null, listed = false, generation = 0;
// What is still awaited before the page is shown at all; what went wrong, by what it was; keys that were entered.
let awaited = new Set(), visit = 0;
const troubles = new Map();

function oneOf(name, value) {
  return [...document.querySelectorAll(`[data-${name}]`)].some((node) => node.dataset[name] === value) ? value : null;
}

// Storage may be forbidden; then the browser's language it is.
function remembered() {
  try { return localStorage.getItem("minutebook.language"); } catch { return null; }
}
function remember(language) {
  try { localStorage.setItem("minutebook.language", language); } catch { /* nothing is lost but the choice */ }
}

class Refused extends Error {}
class Outdated extends Error {}

async function ask(path, values) {
  const mine = visit;
  const query = new URLSearchParams(Object.entries({ ...values, owner: owner || null }).filter(([, value]) => value != null));
  let response;
  try {
    response = await fetch(`/api/v1/evolution/${path}?${query}`, { headers: key ? { "X-API-Key": key } : {} });
  } catch {
    throw new Error(text("unreachable"));
  }
  const answer = await response.json().catch(() => ({}));
  if (mine !== visit) throw new Outdated(); // asked with another key
  if (response.ok) return answer;
  throw new (response.status === 401 ? Refused : Error)(answer.detail ?? `${response.status} ${response.statusText}`);
}

// `work` when it is called, but not beside itself, and begun at most once in `ms` (at once for a person, who says `now`);
// what was called for meanwhile is done once more.
function seldom(name, work, ms) {
  let running = false, wanted = false, hurry = null;
  return async function run({ now = false } = {}) {
    if (running) {
      wanted = true;
      if (now) hurry();
      return;
    }
    running = true;
    do {
      wanted = false;
      const pause = new Promise((resolve) => { hurry = resolve; setTimeout(resolve, ms); });
      await attempt(name, work);
      if (awaited.delete(name) && !awaited.size) main.removeAttribute("aria-busy");
      await pause;
    } while (wanted);
    running = false;
  };
}

// Never raises: what went wrong is told until the same goes well.
async function attempt(name, work) {
  try {
    await work();
    tellTrouble(name, "");
  } catch (error) {
    if (error instanceof Refused) askKey();
    else if (!(error instanceof Outdated)) tellTrouble(name, error.message);
  }
}

function tellTrouble(name, message) {
  troubles.set(name, message);
  const told = [...troubles.values()].find(Boolean) ?? "";
  if ($("trouble").textContent !== told) $("trouble").textContent = told;
  $("trouble").hidden = !told;
}

// Answers to what is no longer chosen are dropped: the choice is asked for again by whoever changed it.
const loadMetrics = seldom("metrics", async () => {
  const { period, dimension } = chosen, zone = currentZone(), { name } = scope;
  const [all, found] = await Promise.all([
    ask("metrics", { ...scope.moment(), period, zone, by: dimension }),
    scope.group === null
      ? ask("metrics", { ...scope.moment(), period, zone, by: "tool" })
      : ask("metrics", { ...scope.moment(), ...scope.narrowed(), period, zone }),
  ]);
  if (period !== chosen.period || dimension !== chosen.dimension || name !== scope.name) return;
  whole = all;
  metrics = scope.group === null ? all : found;
  tools = scope.group === null ? found.tools : null;
  scope.offer(whole.groups);
  showMetrics();
}, METRICS_MS);

const loadPitfalls = seldom("pitfalls", async () => {
  const { period } = chosen, { asOf } = scope;
  const found = await ask("pitfalls", { ...scope.moment(), period });
  if (period !== chosen.period || asOf !== scope.asOf) return;
  pitfalls = found.pitfalls;
  showAllPitfalls();
}, PITFALLS_MS);

const filter = () => ({ outcome: $("outcome").value || null, q: $("search").value.trim() || null });
const askPage = (cursor) =>
  ask("experiences", { ...scope.moment(), ...scope.narrowed(), ...filter(), limit: PAGE, cursor });

// From the newest on until one is known: what has ended since the last time, however much that was (else the list begins anew).
const loadNewest = seldom("experiences", async () => {
  const mine = generation, found = new Map();
  let cursor = null, met = false;
  for (let page = 0; page < PAGES_MISSED_MAX && !met; page++) {
    const { experiences: rows, next_cursor: next } = await askPage(cursor);
    if (mine !== generation) return;
    for (const row of rows) found.set(row.id, row);
    met = rows.some((row) => experiences.has(row.id));
    cursor = next;
    if (!listed || !cursor) break;
  }
  const arrived = listed ? [...found.keys()].filter((id) => !experiences.has(id)) : [];
  if (met) for (const [id, row] of experiences) found.set(id, found.get(id) ?? row);
  else following = cursor;
  experiences = found;
  if (arrived.length) $("arrived").textContent = text("arrived", { count: count(arrived.length) });
  showExperiences({ arrived: new Set(arrived), rewrite: !listed });
  listed = true;
}, EXPERIENCES_MS);

async function loadMore() {
  const mine = generation;
  $("more").disabled = true;
  await attempt("more", async () => {
    const { experiences: rows, next_cursor: next } = await askPage(following);
    if (mine !== generation) return;
    for (const row of rows) experiences.set(row.id, row);
    following = next;
    showExperiences();
  });
  $("more").disabled = false;
}

function forgetList() {
  generation += 1;
  listed = false;
  experiences = new Map();
  following = null;
  $("arrived").textContent = "";
}

function listAnew() {
  forgetList();
  loadNewest({ now: true });
}

function showExperiences(how = {}) {
  const newest = (a, b) => (a.created_at === b.created_at ? (a.id < b.id ? 1 : -1) : Date.parse(b.created_at) - Date.parse(a.created_at));
  // The start page shows one's own conversations, not those of others that an admin sees here.
  const own = () => (owner ? null : metrics?.owner ?? (key ? null : DEVELOPER));
  const hrefOf = (one) => (one.owner === own() ? `${$("start").href}#${encodeURIComponent(one.conversation_id)}` : null);
  table.show([...experiences.values()].sort(newest), { hrefOf, ...how });
  $("more").hidden = following === null;
}

function showMetrics() {
  const { figures, bucket } = metrics;
  const { group } = scope;
  const people = metrics.owner == null ? text("everybody") : text("ownerOnly", { owner: metrics.owner });
  const whose = group === null ? people
    : text("onlyOf", { whose: people, dimension: text(group.dimension), value: group.value || text("none") });
  const [since, until] = [dateAndClock(metrics.since), dateAndClock(metrics.until)];
  $("range").textContent = text("range", { since, until, zone: metrics.zone, whose });
  $("nothing").textContent = figures.runs || figures.steps ? "" : text(`nothing${metrics.period}`);
  showFigures($("figures"), metrics);
  showCharts(text(bucket === "hour" ? "hour" : "dayBucket"));
  const own = group?.dimension === chosen.dimension ? group.value : null;
  showGroups($("groups"), chosen.dimension, whole.groups[chosen.dimension] ?? [], own);
  if (tools) showTools($("tools"), tools);
  else showNoneOf($("tools"), "tools");
  if (tools) showErrors($("errors"), metrics.errors);
  else showNoneOf($("errors"), "errors");
}

function showAllPitfalls() {
  if (scope.group === null) showPitfalls($("pitfalls"), pitfalls);
  else showNoneOf($("pitfalls"), "pitfalls");
}

function showCharts(bucket) {
  const { figures, timeline } = metrics, { measure } = chosen;
  const kinds = ["succeeded", "cancelled", "failed"], names = ["success", "cancelled", "failure"];
  const told = Object.fromEntries(["runs", ...kinds].map((name) => [name, count(figures[name])]));
  outcomes.show({
    bars: barsOf(metrics, (one) => kinds.map((kind) => one[kind])),
    series: names.map((name) => ({ name: text(name), className: name })),
    format: count, whole: true, told: text("outcomesTold", { bucket, ...told }),
  });
  const format = measure === "cost_usd" ? money : count, name = text(measure === "cost_usd" ? "cost" : "tokens");
  const most = format(Math.max(0, ...timeline.map((one) => one[measure])));
  use.show({
    bars: barsOf(metrics, (one) => [one[measure]]),
    series: [{ name, className: "used" }],
    format, whole: measure !== "cost_usd", told: text("useTold", { measure: name, bucket, sum: format(figures[measure]), most }),
  });
}

// Buttons of which one is pressed.
function choice(name, changed) {
  const buttons = [...document.querySelectorAll(`button[data-${name}]`)];
  const press = () => buttons.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset[name] === chosen[name])));
  for (const button of buttons) {
    button.onclick = () => {
      chosen[name] = button.dataset[name];
      press();
      changed();
    };
  }
  press();
}

function chooseLanguage() {
  speak(chosen.language);
  writeTexts();
  if (!main.hidden) tellState(socket?.readyState === WebSocket.OPEN);
  scope.showGroups();
  if (metrics) showMetrics();
  if (pitfalls) showAllPitfalls();
  $("arrived").textContent = "";
  if (listed) showExperiences({ rewrite: true });
}

// A reload, and whoever is sent the address, sees the same.
function keepAddress() {
  asked.set("period", chosen.period);
  asked.set("by", chosen.dimension);
  scope.write(asked);
  history.replaceState(null, "", `?${asked}`);
}

// Another moment, or another group. Pitfalls are kept for everything only.
function rescoped(what) {
  keepAddress();
  tellState(socket?.readyState === WebSocket.OPEN);
  loadMetrics({ now: true });
  if (what === "asOf") loadPitfalls({ now: true });
  else if (pitfalls) showAllPitfalls();
  listAnew();
}

let socket = null, cursor = null, retryMs = RETRY_MS;

function tellState(isOpen) {
  $("state").textContent = !isOpen ? text("lost") : scope.asOf === null ? text("live") : scope.told();
}

function openSocket() {
  const query = new URLSearchParams(Object.entries({ owner, after: cursor }).filter(([, value]) => value));
  const mine = socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/evolution/ws?${query}`);
  const ping = setInterval(() => mine.readyState === WebSocket.OPEN && mine.send('{"type":"ping"}'), PING_MS);
  mine.onopen = () => key && mine.send(JSON.stringify({ type: "auth", api_key: key })); // never in an address
  mine.onmessage = ({ data }) => take(JSON.parse(data));
  mine.onclose = ({ code }) => {
    clearInterval(ping);
    if (socket !== mine) return;
    if (code === UNAUTHORIZED) return askKey();
    if (code === NOT_FOUND) cursor = null; // of another log: everything is asked for anew
    tellState(false);
    setTimeout(() => socket === mine && openSocket(), retryMs * (0.5 + Math.random()));
    retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
  };
}

function take(frame) {
  if (frame.cursor) cursor = frame.cursor;
  if (frame.type === "connected") {
    retryMs = RETRY_MS;
    tellState(true);
    loadAll(); // what ended before the socket began to tell
  } else if (scope.asOf !== null) { // the past stays as it was
    return;
  } else if (frame.type === "experience_added") {
    loadNewest();
    if (frame.data.outcome === "failure") loadPitfalls();
  } else if (frame.type === "metrics_updated" && frame.data.period === chosen.period) loadMetrics();
}

function loadAll() {
  for (const load of [loadMetrics, loadPitfalls, loadNewest]) load({ now: true });
}

function askKey() {
  if (door.isOpen) return;
  const old = socket;
  socket = null;
  old?.close();
  troubles.clear();
  tellTrouble("key", key ? text("wrongKey") : "");
  $("state").textContent = "";
  key = null;
  door.open();
}

function enter() {
  $("start").search = key ? new URLSearchParams({ api_key: key }) : "";
  visit += 1;
  awaited = new Set(["metrics", "pitfalls", "experiences"]);
  main.setAttribute("aria-busy", "true");
  door.close();
  openSocket();
  loadAll();
}

door.entered((entered) => {
  key = entered;
  tellTrouble("key", "");
  cursor = metrics = pitfalls = null;
  forgetList();
  enter();
});
$("filter").onsubmit = (event) => event.preventDefault();
$("outcome").onchange = listAnew;
let typing = 0;
$("search").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(listAnew, TYPING_MS);
};
$("more").onclick = loadMore;
choice("period", () => { keepAddress(); loadMetrics({ now: true }); loadPitfalls({ now: true }); });
choice("dimension", () => { keepAddress(); loadMetrics({ now: true }); });
choice("measure", () => metrics && showMetrics());
choice("language", () => { remember(chosen.language); chooseLanguage(); });
setInterval(() => main.hidden || scope.asOf !== null || loadMetrics(), SLIDE_MS); // the range goes on with time, also when nothing ends
chooseLanguage();
enter();
