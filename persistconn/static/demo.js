// The page: shows who is here, what is said, what is on the wire, and what a cut does. All text goes in as text.

import { Connection, redact } from "./classic.js";
import { Line } from "./line.js";

const UPTO = 40;
const CUT_AFTER = 10;
const MOST_ROWS = 300;
const SHORT = { webSockets: "WebSocket", serverSentEvents: "event stream", longPolling: "long poll", foreverFrame: "forever frame" };
const STATES = { connecting: "connecting", connected: "connected", reconnecting: "reconnecting", disconnected: "disconnected" };

const $ = (id) => document.getElementById(id);
const line = new Line($("line"));
let connection = null;
let me = null;
let replaying = null;                                  // since a loss, until the server says that we are back
let run = null;                                        // the numbers that are being counted
let waiting = [];                                      // what was typed while the line was down
const frames = { in: 0, out: 0 };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Adds a row, drops the oldest, and stays at the end if the reader was at the end. */
function append(list, row) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(row);
  while (list.children.length > MOST_ROWS) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// Where a browser forbids storage, a name lasts until the page is reloaded.
function recall() {
  try { return sessionStorage.getItem("name") ?? ""; } catch { return ""; }
}

function remember(name) {
  try { sessionStorage.setItem("name", name); } catch { /* nothing is lost but comfort */ }
}

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// The connection ---------------------------------------------------------------------------------------------------

function connect() {
  connection?.stop();
  replaying = null;
  if (run) finish("The connection was changed, so the count ended early.");
  const wanted = document.querySelector("[name=transport]:checked").value;
  const name = $("name").value || recall();
  const mine = new Connection(new URL("chat", document.baseURI).href, {
    wanted,
    query: name ? { name } : {},
    on: {
      state: (state, why, again) => mine === connection && showState(state, why, again),
      message: (data) => mine === connection && receive(data),
      wire: (way, what, text) => (mine === connection || connection === null) && showWire(way, what, text),
    },
  });
  connection = mine;
  connection.pause = Number($("away").value);
  connection.start();
}

function showState(state, why, again) {
  document.body.dataset.state = state;
  line.state = state;
  $("state").textContent = STATES[state];
  $("ended").hidden = state !== "disconnected";
  $("cut-server").disabled = $("cut-page").disabled = state !== "connected" || run !== null;
  $("text").placeholder = state === "reconnecting" ? "You are cut off: this is sent when you are back" : "Say something to everybody";
  if (state === "reconnecting") {
    replaying = { since: performance.now(), count: 0 };
    verdict("broken", "Cut off.", run ? `Away since number ${run.last}; the server goes on.` : `Transport lost: ${why}.`);
  }
  if (state === "connected") {
    $("fact-transport").textContent = SHORT[connection.transport];
    for (const data of waiting.splice(0)) ask(data);
  }
  if (state === "disconnected") {
    $("ended-why").textContent = why[0].toUpperCase() + why.slice(1) + ".";
    if (run || replaying) finish(again ? `A new session begins: ${why}.` : `The session is over: ${why}.`);
    if (again) setTimeout(connect, 500);
  }
}

function ask(data) {
  if (connection.state !== "connected") return waiting.push(data);
  return connection.send(data).catch((error) => notice(`Not sent: ${error.message}`));
}

function receive(data) {
  const replayed = replaying !== null && data.kind !== "back";
  if (replayed) replaying.count += 1;
  line.bead("in", replayed ? "replay" : "message");
  const show = {
    welcome: () => welcome(data),
    roster: () => showPeople(data),
    said: () => said(data, replayed),
    notice: () => notice(data.text),
    tick: () => tick(data, replayed),
    back: () => back(data),
  }[data.kind];
  show?.();
}

function welcome({ you, name, recent }) {
  me = you;
  $("name").value = name;
  remember(name);
  $("fact-id").textContent = you.slice(0, 8);
  $("fact-server").textContent = location.host;
  $("chat").replaceChildren();
  for (const message of recent) said(message, false);
  notice(`You are ${name}. Open this page in a second window to have company.`);
}

// People and chat --------------------------------------------------------------------------------------------------

function showPeople({ total, people }) {
  $("total").textContent = total;
  $("people").replaceChildren(...people.map(({ id, name, hue, transport }) => {
    const row = make("li", id === me ? "self" : "");
    row.style.setProperty("--hue", hue);
    const face = make("span", "face", [...name][0]);
    face.setAttribute("aria-hidden", "true");
    row.append(face, make("b", "", name), make("small", "", SHORT[transport] ?? transport));
    return row;
  }));
}

function said({ id, name, hue, text }, replayed) {
  const row = make("li", id === me ? "said self" : "said");
  row.style.setProperty("--hue", hue);
  const previous = $("chat").lastElementChild;
  if (previous?.dataset.from === id) row.classList.add("more");
  row.dataset.from = id;
  const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const head = make("span", "head");
  head.append(make("b", "", name), make("time", "", time));
  row.append(head, make("span", "text", text));
  if (replayed) row.append(make("span", "mark", "replayed"));
  append($("chat"), row);
}

function notice(text) {
  append($("chat"), make("li", "notice", text));
}

// The cut ----------------------------------------------------------------------------------------------------------

function startCut(who) {
  run = { who, last: 0, replayed: 0, lost: 0, wrong: 0 };
  $("cut-server").disabled = $("cut-page").disabled = true;
  $("numbers").replaceChildren(...Array.from({ length: UPTO }, (_, i) => make("li", "", String(i + 1))));
  verdict("", "Counting.", `The line is cut after number ${CUT_AFTER}.`);
  connection.pause = Number($("away").value);
  ask({ do: "count", upto: UPTO, ...(who === "server" && { cut_after: CUT_AFTER }) });
}

function tick({ n, of }, replayed) {
  if (!run) return;
  if (n <= run.last) run.wrong += 1;                   // again, or out of order
  for (let missing = run.last + 1; missing < n; missing++) {
    run.lost += 1;
    $("numbers").children[missing - 1].className = "lost";
  }
  $("numbers").children[n - 1].className = replayed ? "replay" : "live";
  if (replayed) run.replayed += 1;
  run.last = Math.max(run.last, n);
  if (run.who === "page" && n === CUT_AFTER) connection.cut();
  if (n === of && replaying === null) complete();
}

/** The server has seen us come back: what came since then and before this word was replayed. */
function back({ recovered, missed }) {
  const seconds = ((performance.now() - (replaying?.since ?? performance.now())) / 1000).toFixed(1);
  const replayed = replaying?.count ?? 0;
  replaying = null;
  const lost = Math.max(run?.lost ?? 0, missed ?? 0);
  const trouble = recovered ? `${lost} lost` : missed === null ? "some may be lost" : `${missed} lost`;
  verdict(recovered && !lost ? "good" : "bad", recovered ? "Recovered." : "Back, with a gap.",
    `Away for ${seconds} s: ${plural(replayed, "message")} replayed, ${trouble}.`);
  notice(`Back after ${seconds} s: ${plural(replayed, "message")} replayed, ${trouble}`);
  if (run?.last === UPTO) complete();
}

function complete() {
  const fine = run.lost === 0 && run.wrong === 0;
  const tail = fine ? `All ${UPTO} numbers are here, once and in order.` : `${run.lost} numbers lost, ${run.wrong} out of order.`;
  $("verdict").append(" ", make("span", fine ? "all good" : "all bad", tail));
  finish();
}

function finish(text) {
  run = null;
  if (text) verdict("", "Stopped.", text);
  $("cut-server").disabled = $("cut-page").disabled = connection.state !== "connected";
}

function verdict(tone, head, text) {
  $("verdict").className = tone;
  $("verdict").replaceChildren(make("b", "", head), " ", make("span", "", text));
}

// The wire ---------------------------------------------------------------------------------------------------------

const held = [];                                       // rows that wait while the log is paused
const started = performance.now();

function showWire(way, what, text) {
  if (way !== "note") {
    frames[way] += 1;
    $("fact-frames").textContent = `${frames.in} / ${frames.out}`;
  }
  if (what === "keep-alive") line.bead("in", "quiet");
  if (way === "out") line.bead("out", connection?.state === "connected" ? "sent" : "probe");
  const row = make("li", what === "keep-alive" ? `${way} quiet` : way);
  const whole = redact(text);
  const shown = whole.length > 600 ? `${whole.slice(0, 600)}… (${whole.length} characters)` : whole;
  const body = make("span");
  for (const part of shown.split(/(?<=[,&?])/)) body.append(part, make("wbr"));   // where a line may be broken
  row.append(
    make("time", "", ((performance.now() - started) / 1000).toFixed(3)),
    make("i", "", { in: "←", out: "→", note: "·" }[way]),
    make("b", "", what),
    body,
  );
  if ($("pause").getAttribute("aria-pressed") === "true") {
    held.push(row);
    if (held.length > MOST_ROWS) held.shift();
    $("pause").textContent = `Resume (${held.length})`;
  } else {
    append($("wire"), row);
  }
}

function togglePause() {
  const paused = $("pause").getAttribute("aria-pressed") !== "true";
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Resume" : "Pause";
  if (!paused) for (const row of held.splice(0)) append($("wire"), row);
}

function showFacts() {
  $("fact-cursor").textContent = connection.cursor ?? "–";
  const silent = Math.round((Date.now() - connection.heard) / 1000);
  $("fact-heard").textContent = connection.state === "disconnected" ? "–" : silent < 1 ? "just now" : `${silent} s ago`;
}

// What the reader does ---------------------------------------------------------------------------------------------

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text) ask({ do: "say", text });
  $("text").value = "";
});
$("name").addEventListener("change", () => {
  const name = $("name").value.trim();
  remember(name);
  connection.query.name = name;
  if (name) ask({ do: "rename", name });
});
$("name").addEventListener("keydown", (event) => event.key === "Enter" && $("name").blur());
$("transports").addEventListener("change", connect);
$("again").addEventListener("click", connect);
$("cut-server").addEventListener("click", () => startCut("server"));
$("cut-page").addEventListener("click", () => startCut("page"));
$("pause").addEventListener("click", togglePause);
$("clear").addEventListener("click", () => { held.length = 0; $("wire").replaceChildren(); });
$("quiet").addEventListener("change", () => $("wire").classList.toggle("no-quiet", !$("quiet").checked));
addEventListener("pagehide", () => connection.stop());
addEventListener("pageshow", (event) => event.persisted && connect());

$("numbers").replaceChildren(...Array.from({ length: UPTO }, (_, i) => make("li", "", String(i + 1))));
setInterval(showFacts, 250);
connect();
