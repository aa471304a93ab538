// The classic SignalR wire by hand, client protocol 2.1: negotiate, connect, start, reconnect, send, abort.
// One Connection is one session: make a new one to start afresh.

const PROTOCOL = "2.1";
const RETRY = 2000;                                   // ms between two attempts to come back
export const TRANSPORTS = ["webSockets", "serverSentEvents", "longPolling"];

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A line for people to read: tokens are as good as passwords, so only their first letters are shown. */
export const redact = (text) =>
  text.replace(/("(?:ConnectionToken|AccessToken|G)":"|\b(?:connectionToken|groupsToken)=)([^"&]{0,5})[^"&]*/g, "$1$2…");

// How frames ride. Each opener starts at once, tells its link `opened`, `frame(text)` and `lost(why)`,
// and returns how to close and, if it can, how to send.
const OPENERS = {
  webSockets(link, action) {
    const socket = new WebSocket(link.url(action).replace(/^http/, "ws"));
    socket.onopen = () => link.opened();
    socket.onmessage = (event) => link.frame(event.data);
    socket.onclose = (event) => link.lost(`socket closed, code ${event.code}`);
    return { send: (text) => socket.send(text), close: () => socket.close() };
  },

  serverSentEvents(link, action) {
    const source = new EventSource(link.url(action));
    source.onopen = () => link.opened();
    source.onmessage = (event) => event.data === "initialized" || link.frame(event.data);
    source.onerror = () => link.lost("stream ended");  // closing it here keeps the browser from asking /connect again
    return { close: () => source.close() };
  },

  longPolling(link, action) {
    const leash = new AbortController();
    (async () => {
      for (let step = action; !leash.signal.aborted; step = "poll") {
        const text = await link.poll(step, leash.signal);
        link.opened();
        if (text.trim()) link.frame(text);
        if (text.trim() && "T" in JSON.parse(text)) throw new Error("server asked to reconnect");
      }
    })().catch((error) => link.lost(error.message));
    return { close: () => leash.abort() };
  },
};

export class Connection {
  state = "new";
  id = null;
  transport = null;
  heard = Date.now();                                  // when the server last gave a sign of life
  cursor = null;                                       // where we are: the server replays what came after it
  pause = RETRY;                                       // ms to stay away after a loss; the page plays with it
  #token = null;
  #groups = null;
  #limits = {};
  #pipe = null;
  #held = [];                                          // messages that came before the start was confirmed
  #sending = Promise.resolve();
  #over = false;
  #watch = null;

  /** on: { state(state, why), message(data), wire(way, what, text) }, way being "in", "out" or "note". */
  constructor(base, { wanted = "auto", query = {}, on }) {
    Object.assign(this, { base, wanted, query, on });
  }

  async start() {
    this.#move("connecting");
    try {
      const hello = await this.#request("negotiate");
      if (hello.Error) throw new Error(hello.Error);
      this.id = hello.ConnectionId;
      this.#token = hello.ConnectionToken;
      this.#limits = hello;
      await this.#openOneOf(this.wanted === "auto" ? TRANSPORTS : [this.wanted]);
      const answer = await this.#request("start");
      if (answer.Response !== "started") throw new Error("the server did not confirm the start");
    } catch (error) {
      return this.#end(error.message);
    }
    if (this.#over) return;
    this.#move("connected");
    for (const data of this.#held.splice(0)) this.on.message(data);
    this.#watch = setInterval(() => this.#checkSilence(), 1000);
  }

  /** Sends any JSON value; what is sent over HTTP waits for what was sent before, so that order is kept. */
  send(data) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    if (this.#pipe?.send) {
      this.on.wire("out", "message", text);
      this.#pipe.send(text);
      return Promise.resolve();
    }
    this.#sending = this.#sending.catch(() => {}).then(() => this.#request("send", { data: text }));
    return this.#sending;
  }

  /** Pulls the plug on our side, as a dead network would. The session lives on. */
  cut() {
    this.#pipe?.lose("plug pulled on this side");
  }

  /** Says goodbye: the server forgets this session. Also good while the page is being closed. */
  stop() {
    if (this.#over) return;
    const known = this.transport !== null;
    this.#end("stopped by this page");
    if (known) {
      this.on.wire("out", "POST abort", "");
      fetch(this.#url("abort"), { method: "POST", keepalive: true }).catch(() => {});
    }
  }

  async #openOneOf(names) {
    for (const name of names) {
      if (this.#over) return;
      if (name === "webSockets" && !this.#limits.TryWebSockets) continue;
      try {
        this.transport = name;
        return await this.#open(name, "connect");
      } catch (error) {
        this.on.wire("note", `${name} does not work here`, error.message);
      }
    }
    throw new Error("no transport works");
  }

  /** Opens a transport. Settles when it is usable: for connect that is the init mark, for reconnect any answer. */
  #open(name, action) {
    return new Promise((resolve, reject) => {
      let pipe = null;
      let phase = "opening";                           // then open, then closed
      const pass = (next) => { phase = next; clearTimeout(timer); };
      const lose = (why) => {
        const before = phase;
        if (before === "closed") return;
        pass("closed");
        pipe?.close();
        this.#pipe = null;
        this.on.wire("note", "transport lost", why);
        if (before === "open") this.#lost(why);
        else reject(new Error(why));
      };
      const ready = () => {
        if (phase !== "opening") return;
        pass("open");
        resolve();
      };
      const timer = setTimeout(() => lose("no answer in time"), this.#limits.TransportConnectTimeout * 1000);
      pipe = OPENERS[name]({
        url: (step) => this.#url(step, true),
        poll: (step, signal) => this.#poll(step, signal),
        opened: () => phase === "closed" || action === "connect" || ready(),
        frame: (text) => phase === "closed" || (this.#frame(text) && ready()),
        lost: lose,
      }, action);
      this.#pipe = { lose, send: pipe.send, close: () => { pass("closed"); pipe.close(); } };
    });
  }

  /** Reads one envelope and tells whether it carried the init mark. `{}` is a keep-alive. */
  #frame(text) {
    this.heard = Date.now();
    this.on.wire("in", text.trim() === "{}" ? "keep-alive" : "envelope", text);
    const envelope = JSON.parse(text);
    if (envelope.E) return this.#end(envelope.E);
    if (!Array.isArray(envelope.M)) return false;
    if (envelope.C) this.cursor = envelope.C;
    if (envelope.G) this.#groups = envelope.G;
    for (const data of envelope.M) {
      if (this.state === "connecting") this.#held.push(data);
      else this.on.message(data);
    }
    return "S" in envelope;
  }

  #lost(why) {
    if (this.#over) return;
    if (this.state === "connected") this.#reconnect(why);
    else this.#end(`lost while starting: ${why}`);
  }

  async #reconnect(why) {
    this.#move("reconnecting", why);
    const patience = Date.now() + this.#limits.DisconnectTimeout * 1000;
    let strangers = 0;
    for (let wait = this.pause; ; wait = RETRY) {
      await sleep(wait);
      if (this.#over) return;
      try {
        await this.#open(this.transport, "reconnect");
        return this.#over || this.#move("connected");
      } catch {
        if (this.#over) return;
        if (Date.now() > patience) return this.#end("no way back in time");
        const alive = await this.#request("negotiate").then(() => true, () => false);
        if (alive && ++strangers > 1) return this.#end("the server no longer knows this session", true);
      }
    }
  }

  #checkSilence() {
    const limit = this.#limits.KeepAliveTimeout;
    if (limit && this.state === "connected" && this.transport !== "longPolling" && Date.now() - this.heard > limit * 1000) {
      this.#pipe?.lose("no sign of life");
    }
  }

  #url(step, attaching = false) {
    const fields = { clientProtocol: PROTOCOL, ...this.query };
    if (step !== "negotiate") Object.assign(fields, { transport: this.transport, connectionToken: this.#token });
    if (attaching && this.cursor) fields.messageId = this.cursor;
    if (attaching && this.#groups) fields.groupsToken = this.#groups;
    const url = `${this.base}/${step}?${new URLSearchParams(fields)}`;
    if (attaching) this.on.wire("out", step, url.slice(this.base.length));
    return url;
  }

  async #poll(step, signal) {
    const form = {};
    if (this.cursor) form.messageId = this.cursor;
    if (this.#groups) form.groupsToken = this.#groups;
    this.on.wire("out", `POST ${step}`, String(new URLSearchParams(form)));
    const answer = await fetch(this.#url(step), { method: "POST", body: new URLSearchParams(form), signal });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status} ${text}`);
    return text;
  }

  async #request(step, form = null) {
    const body = form && new URLSearchParams(form);
    const method = body ? "POST" : "GET";
    const url = this.#url(step);
    this.on.wire("out", `${method} ${step}`, form?.data ?? url.slice(this.base.length));
    const answer = await fetch(url, { method, body, cache: "no-store" });
    const text = await answer.text();
    this.on.wire("in", `${answer.status} ${step}`, text);
    if (!answer.ok) throw new Error(`${step} was answered ${answer.status} ${text}`);
    return text ? JSON.parse(text) : {};
  }

  #move(state, why = "") {
    this.state = state;
    this.on.state(state, why);
  }

  #end(why, again = false) {
    if (this.#over) return false;
    this.#over = true;
    clearInterval(this.#watch);
    this.#pipe?.close();
    this.#pipe = null;
    this.state = "disconnected";
    this.on.state("disconnected", why, again);
    return false;
  }
}
