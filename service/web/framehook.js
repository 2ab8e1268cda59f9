// The browser's side of Framehook, for pages and Node. framehook.d.ts describes what is exported.

const CALL_MS = 30_000;
const CALL_TRIES = 3;
const HANDSHAKE_MS = 8_000; // until a stream has said something
const PING_MS = 20_000;
const PONG_MS = 10_000;
const SILENCE_MS = 45_000; // event streams carry a comment every 15 s
const STABLE_MS = 10_000; // a connection that lived as long resets the back-off
const SHORT_LIFE_MS = 60_000;
const MAX_DEATHS = 3; // short lives in a row, after which a transport is left out
const BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 30_000;
const MAX_REQUESTED_MS = 60_000;
const REFUSED_MS = 10_000;
const POLL_MS = 2_000;
const MAX_POLL_MS = 10_000;
const BLOCK_MS = 30_000; // how long it is left out at first
const MAX_BLOCK_MS = 600_000;
const SNAPSHOT_MS = 500;
const CHECK_MS = 2_000;
const UNKNOWN_MS = 60_000; // an export with a chosen id may be watched before it exists
const LEADER_MS = 15_000;
const ANSWER_MS = 5_000;
const WAKE_MS = 5_000;
const PARALLEL_CALLS = 4;
const KEPT_STATES = 1_000;
const PARTS_FROM_BYTES = 16 * 2 ** 20;
const PART_TRIES = 8; // so that a restart of the service fails no part
const MAX_IDLE_ROUNDS = 3; // in which no part arrives
const STALL_MS = 60_000;
const UPLOAD_AGE_MS = 24 * 3_600_000; // the service keeps unfinished uploads as long
const HOUR_MS = 3_600_000;
const WAKE_EVENTS = ["online", "visibilitychange", "pageshow"];

const ENDED = new Set(["complete", "error", "cancelled"]);
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);
const REPEATABLE = new Set([0, 502, 503, 504]);
const TEMPORARY_UPLOAD = new Set([0, ...TEMPORARY]);
const EXPIRED = new Set([400, 401, 403, 404]);
const SERVER_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export class FramehookProblem extends Error {
  constructor(status, code, detail, { errors = [], retryAfter = 0, exportId, cause } = {}) {
    super(detail, { cause });
    Object.assign(this, { name: "FramehookProblem", status, code, detail, errors, retryAfter, exportId });
  }

  get isNetworkError() {
    return this.status === 0;
  }

  get isTemporary() {
    return this.isNetworkError || TEMPORARY.has(this.status);
  }
}

export function hasEnded(job) {
  return ENDED.has(job.status);
}

export function createClient(options = {}) {
  return new Client(options);
}

const networkProblem = (cause) =>
  new FramehookProblem(0, "network_error", "The service can't be reached; check the connection.", { cause });

function toProblem(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text) ?? {};
  } catch {
    // an intermediary has answered
  }
  const code = String(body.type ?? "").split(":").pop() || "unexpected_response";
  const detail = body.detail ?? body.title ?? `The service answered with status ${status}.`;
  const seconds = Number(retryAfter) || Math.max(0, (Date.parse(retryAfter) - Date.now()) / 1000) || 0;
  return new FramehookProblem(status, code, detail, { errors: body.errors, retryAfter: seconds });
}

const toSnakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function toWire(options) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [toSnakeCase(name), value]));
}

function userOf(ticket) {
  try {
    const claims = ticket.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).sub;
  } catch {
    return undefined;
  }
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function findRuntime(changes) {
  let localStorage;
  try {
    localStorage = globalThis.localStorage; // throws where storage is disabled
  } catch {}
  return {
    fetch: (...call) => globalThis.fetch(...call),
    setTimeout: (...call) => globalThis.setTimeout(...call),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
    WebSocket: globalThis.WebSocket,
    XMLHttpRequest: globalThis.XMLHttpRequest,
    BroadcastChannel: globalThis.BroadcastChannel,
    locks: globalThis.navigator?.locks,
    events: globalThis.window,
    localStorage,
    ...changes,
  };
}

// Calls: authorization, time-outs, retries.
class Http {
  constructor({ baseUrl = globalThis.location?.origin, token, credentials = "same-origin" }, runtime) {
    this.base = new URL(baseUrl, globalThis.location?.href).href.replace(/[?#].*$/, "").replace(/\/+$/, "");
    this.source = token;
    this.credentials = credentials;
    this.runtime = runtime;
  }

  url(path, query = {}) {
    const url = new URL(this.base + path);
    for (const [name, value] of Object.entries(toWire(query))) {
      for (const item of [value].flat()) url.searchParams.append(name, item);
    }
    return url;
  }

  get canRenew() {
    return typeof this.source === "function";
  }

  async token() {
    if (!this.canRenew) return this.source;
    this.pending ??= Promise.resolve().then(() => this.source());
    try {
      return (this.held = await this.pending);
    } catch (cause) {
      this.pending = undefined;
      throw new FramehookProblem(0, "token_unavailable", "The page could not get a token.", { cause });
    }
  }

  forgetToken(token = this.held) {
    if (token === this.held) this.held = this.pending = undefined;
  }

  async send(method, path, { query, headers, body, signal } = {}) {
    for (let isRenewed = false; ; isRenewed = true) {
      const token = await this.token();
      const authorization = token && { Authorization: `Bearer ${token}` };
      const { credentials } = this;
      const call = { method, body, signal, credentials, cache: "no-store", headers: { ...headers, ...authorization } };
      const response = await this.runtime.fetch(this.url(path, query), call);
      if (response.ok) return response;
      const problem = toProblem(response.status, await response.text(), response.headers.get("Retry-After"));
      if (problem.status !== 401 || !this.canRenew || isRenewed) throw problem;
      this.forgetToken(token);
    }
  }

  async json(method, path, { body, headers, tries = method === "POST" ? 1 : CALL_TRIES, ...options } = {}) {
    const json = body === undefined ? {} : { body: JSON.stringify(body), type: { "Content-Type": "application/json" } };
    const call = { ...options, body: json.body, headers: { ...json.type, ...headers } };
    return this.repeat(tries, options.signal, () =>
      this.limit(CALL_MS, options.signal, async (signal) => {
        const response = await this.send(method, path, { ...call, signal });
        const text = await response.text();
        try {
          return text ? JSON.parse(text) : null;
        } catch (cause) {
          const detail = "The answer is not from a Framehook service; check the base URL.";
          throw new FramehookProblem(response.status, "unexpected_response", detail, { cause });
        }
      }),
    );
  }

  // Run a call with a signal that aborts it after a time or with `parent`; turn every failure into a problem.
  async limit(milliseconds, parent, call) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    parent?.addEventListener("abort", abort);
    const timer = this.runtime.setTimeout(abort, milliseconds);
    try {
      parent?.throwIfAborted();
      return await call(controller.signal);
    } catch (error) {
      parent?.throwIfAborted();
      throw error instanceof FramehookProblem ? error : networkProblem(error);
    } finally {
      this.runtime.clearTimeout(timer);
      parent?.removeEventListener("abort", abort);
    }
  }

  async repeat(tries, signal, call, statuses = REPEATABLE) {
    for (let failures = 0; ; failures++) {
      try {
        return await call();
      } catch (problem) {
        const canRepeat = statuses.has(problem.status) && problem.retryAfter * 1000 <= MAX_REQUESTED_MS;
        if (!canRepeat || failures + 1 >= tries) throw problem;
        await this.sleep(problem.retryAfter * 1000 + this.jitter(failures), signal);
      }
    }
  }

  jitter(failures) {
    return this.runtime.random() * Math.min(BACKOFF_MS * 2 ** failures, MAX_BACKOFF_MS);
  }

  sleep(milliseconds, signal) {
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.runtime.clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = this.runtime.setTimeout(() => {
        signal?.removeEventListener("abort", stop);
        resolve();
      }, milliseconds);
      signal?.aborted ? stop() : signal?.addEventListener("abort", stop, { once: true });
    });
  }
}

// Events of a stream (HTML standard, 9.2.6), from chunks of text.
class EventParser {
  rest = "";
  fields = {};

  *parse(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) {
      if (!line) {
        if ("data" in this.fields) yield this.fields;
        this.fields = {};
      }
      const [, name, value] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
      if (name === "data" && "data" in this.fields) this.fields.data += `\n${value}`;
      else if (name) this.fields[name] = value;
    }
  }
}

// The connection of the tab that leads: WebSocket, else event stream, else polling.
class Link {
  failures = 0;
  polls = 0;
  blocks = { websocket: { until: 0 }, events: { until: 0 } };
  stopper = new AbortController();

  constructor(http, feed) {
    Object.assign(this, { http, feed, runtime: http.runtime });
    this.tabs = new Tabs(http, feed, () => this.abort?.());
    this.wake = () => this.onWake();
    for (const name of WAKE_EVENTS) this.runtime.events?.addEventListener(name, this.wake);
    this.run();
  }

  stop() {
    for (const name of WAKE_EVENTS) this.runtime.events?.removeEventListener(name, this.wake);
    this.runtime.clearTimeout(this.pausing);
    this.stopper.abort();
    this.abort?.();
    this.tabs.leave();
  }

  get isOver() {
    return this.stopper.signal.aborted || !this.tabs.leads;
  }

  async run() {
    while (!this.stopper.signal.aborted) {
      let delay;
      try {
        delay = await this.connect();
      } catch (problem) {
        if (this.stopper.signal.aborted) return;
        if (!problem.isTemporary) return this.feed.fail(problem);
        if (problem.isNetworkError) for (const block of Object.values(this.blocks)) block.until = 0;
        delay = this.backOff(problem.retryAfter * 1000);
        this.lose(problem);
      }
      await new Promise((resolve) => {
        this.resume = resolve;
        this.pausing = this.runtime.setTimeout(resolve, delay);
      });
    }
  }

  // Connect, and return after the end how long to wait; throws the problem that kept the service from answering.
  async connect() {
    if (!this.tabs.leads || this.isUsable("websocket")) {
      const { signal } = this.stopper;
      const { ticket } = await this.http.json("POST", "/api/stream-tickets", { signal });
      if (await this.tabs.lead(userOf(ticket))) return 0; // it has waited, and the ticket may have expired
      const end = await this.hold("websocket", (life) => this.openSocket(ticket, life));
      if (end.isProven) return this.delayAfter(end);
    }
    const end = await this.hold("events", (life) => this.openEvents(life));
    if (end.isProven) return this.delayAfter(end);
    if (this.isOver) return 0;
    this.open("polling", await this.feed.loadRecent(this.stopper.signal));
    this.failures = 0;
    return Math.min(POLL_MS * 1.3 ** this.polls++, MAX_POLL_MS) * (0.5 + this.runtime.random());
  }

  isUsable(transport) {
    return this.runtime.now() >= this.blocks[transport].until && (transport === "events" || this.runtime.WebSocket);
  }

  // Run one connection to its end, if the transport is not broken.
  async hold(transport, open) {
    const end = { transport, isProven: false, requested: 0 };
    if (this.isOver || !this.isUsable(transport)) return end;
    const controller = new AbortController();
    let timer;
    const expect = (milliseconds, then = () => controller.abort()) => {
      this.runtime.clearTimeout(timer);
      timer = this.runtime.setTimeout(then, milliseconds);
    };
    this.abort = () => controller.abort();
    expect(HANDSHAKE_MS);
    try {
      await open({ signal: controller.signal, end, expect });
    } catch (problem) {
      if (problem instanceof FramehookProblem && !problem.isTemporary) throw problem;
      end.requested = problem.retryAfter * 1000 || 0;
    } finally {
      this.runtime.clearTimeout(timer);
      this.abort = this.probe = undefined;
      controller.abort();
    }
    if (!this.isOver) this.judge(end);
    return end;
  }

  // Decide when a transport is used again.
  judge({ transport, isProven, isClean, isRefused, openedAt, requested }) {
    const block = this.blocks[transport];
    const isLong = this.runtime.now() - openedAt >= SHORT_LIFE_MS;
    block.deaths = isProven && (isClean || isLong) ? 0 : (block.deaths ?? 0) + (isProven ? 1 : MAX_DEATHS);
    if (isProven && isLong) block.milliseconds = undefined;
    if (block.deaths < MAX_DEATHS) return;
    block.milliseconds = Math.min(block.milliseconds * 2 || BLOCK_MS, MAX_BLOCK_MS);
    block.until = this.runtime.now() + (isRefused ? requested : block.milliseconds);
  }

  delayAfter({ openedAt, requested }) {
    if (this.runtime.now() - openedAt >= STABLE_MS) this.failures = 0;
    this.lose(networkProblem());
    return this.backOff(requested);
  }

  backOff(requested) {
    return Math.min(requested, MAX_REQUESTED_MS) + this.http.jitter(this.failures++);
  }

  openSocket(ticket, { signal, end, expect }) {
    return new Promise((resolve) => {
      const url = this.http.url("/ws/exports", { ticket });
      url.protocol = url.protocol.replace("http", "ws");
      const socket = new this.runtime.WebSocket(url.href);
      const ping = () => {
        socket.send("ping");
        expect(PONG_MS);
      };
      socket.onopen = () => {
        this.probe = ping;
        ping();
      };
      socket.onmessage = ({ data }) => {
        this.deliver(data === "pong" ? [] : [JSON.parse(data)], end);
        expect(PING_MS, ping);
      };
      socket.onclose = ({ code }) => {
        if (code === 4401) this.http.forgetToken();
        const isRefused = code === 1013;
        const requested = isRefused ? REFUSED_MS * (1 + this.runtime.random()) : 0;
        Object.assign(end, { isRefused, requested, isClean: code === 4401 || code === 1012 });
        resolve();
      };
      signal.addEventListener("abort", () => {
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        resolve();
      });
    });
  }

  async openEvents({ signal, end, expect }) {
    const headers = { Accept: "text/event-stream", ...(this.position && { "Last-Event-ID": this.position }) };
    const response = await this.http.send("GET", "/api/exports/events", { headers, signal });
    if (!/^text\/event-stream/.test(response.headers.get("Content-Type"))) return;
    this.probe = () => this.runtime.now() - this.feed.contactedAt > PING_MS && this.abort();
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let chunk; !(chunk = await reader.read()).done; ) {
      if (end.isProven) {
        expect(SILENCE_MS);
        this.deliver([], end);
      }
      for (const event of parser.parse(chunk.value)) this.onEvent(event, end);
    }
  }

  onEvent({ event, data, id, retry }, end) {
    const body = JSON.parse(data);
    if (retry) end.requested = Number(retry);
    if (id) this.position = id;
    end.isRefused = event === "stream.refused";
    end.isClean = event === "stream.expired";
    if (end.isClean) this.http.forgetToken();
    if (event.startsWith("export.")) this.deliver(body.exports ?? [body], end);
  }

  deliver(jobs, end) {
    if (!end.isProven) {
      Object.assign(end, { isProven: true, openedAt: this.runtime.now() });
      this.open(end.transport, jobs);
    } else {
      this.feed.receive(jobs);
      if (jobs.length) this.tabs.post({ kind: "states", jobs });
    }
    this.feed.contactedAt = this.runtime.now();
  }

  open(transport, jobs) {
    if (this.feed.open(transport, jobs)) this.polls = 0;
    this.tabs.post({ kind: "open", jobs });
  }

  lose(problem) {
    this.feed.lose(problem);
    this.tabs.post({ kind: "lost" });
  }

  // The network or the page is back: test the connection, or connect soon.
  onWake() {
    const now = this.runtime.now();
    if (now - this.wokenAt < WAKE_MS) return;
    this.wokenAt = now;
    if (this.probe) return this.probe();
    this.runtime.clearTimeout(this.pausing);
    if (this.resume) this.pausing = this.runtime.setTimeout(this.resume, this.http.jitter(0));
  }
}

// The tabs of one user: the one that holds the lock leads, and tells the others what its connection brings.
class Tabs {
  leads = false;

  constructor(http, feed, onDeposed) {
    Object.assign(this, { base: http.base, runtime: http.runtime, feed, onDeposed, id: randomId() });
  }

  // Wait until this tab leads; return whether that took long.
  async lead(user) {
    const name = `framehook ${this.base} ${user}`;
    if (name !== this.name) this.leave();
    if (this.leads) return false;
    const { BroadcastChannel, locks } = this.runtime;
    this.name = name;
    if (user === undefined || !BroadcastChannel || !locks) {
      this.leads = true;
      return false;
    }
    const askedAt = this.runtime.now();
    if (!this.channel) {
      this.channel = new BroadcastChannel(name);
      this.channel.onmessage = ({ data }) => this.onMessage(data);
    }
    this.requestLock();
    this.askLeader("hello");
    await new Promise((resolve) => (this.onTurn = resolve));
    return this.runtime.now() - askedAt > ANSWER_MS;
  }

  leave() {
    this.runtime.clearTimeout(this.timer);
    this.cancel?.();
    this.release?.();
    this.channel?.close();
    this.onTurn?.();
    this.leads = false;
    this.name = this.channel = this.cancel = this.release = undefined;
  }

  requestLock(options) {
    const { channel } = this;
    const controller = new AbortController();
    let release;
    const hold = () =>
      new Promise((resolve) => {
        release = resolve;
        if (this.channel !== channel) return release();
        this.runtime.clearTimeout(this.timer);
        Object.assign(this, { leads: true, release, cancel: undefined });
        this.post({ kind: "here" });
        this.onTurn();
      });
    this.cancel = () => controller.abort();
    this.runtime.locks.request(this.name, options ?? { signal: controller.signal }, hold).catch(() => {
      if (!release || this.release !== release) return;
      Object.assign(this, { leads: false, release: undefined }); // another tab has taken the lock
      this.onDeposed();
    });
  }

  // Ask for a sign of life; a leader that is frozen loses the lock.
  askLeader(kind) {
    this.channel.postMessage({ kind, from: this.id });
    this.timer = this.runtime.setTimeout(() => {
      this.cancel?.();
      this.requestLock({ steal: true });
    }, ANSWER_MS * (1 + this.runtime.random()));
  }

  post(message) {
    if (this.leads) this.channel?.postMessage(message);
  }

  onMessage({ kind, jobs, from, to }) {
    if (this.leads) {
      if (kind === "ask") this.post({ kind: "here" });
      if (kind === "hello") this.post(this.feed.isOpen ? { kind: "open", jobs: this.feed.confirmedJobs, to: from } : { kind: "lost", to: from });
      return;
    }
    if (from) return;
    this.runtime.clearTimeout(this.timer);
    this.timer = this.runtime.setTimeout(() => this.askLeader("ask"), LEADER_MS);
    if (kind === "states") this.feed.receive(jobs);
    if (to && to !== this.id) return;
    if (kind === "open") this.feed.open("tab", jobs);
    if (kind === "lost") this.feed.lose(networkProblem());
  }
}

// What is known of the exports, and who watches them.
class Feed {
  jobs = new Map();
  confirmed = new Set(); // exports whose state came since the connection opened
  watches = new Set();
  openings = 0;

  constructor(http) {
    Object.assign(this, { http, runtime: http.runtime });
  }

  get isOpen() {
    return this.transport !== undefined;
  }

  get hasFilters() {
    return [...this.watches].some((watch) => !watch.ids);
  }

  get confirmedJobs() {
    return [...this.jobs.values()].filter((job) => this.confirmed.has(job.job_id));
  }

  // Start a watch; `jobs` are states that were loaded for it.
  async add(watch, jobs) {
    this.watches.add(watch);
    await null; // its caller gets it before its handlers are called
    this.receive([...this.confirmedJobs, ...jobs]);
    if (watch.isDone) return watch.close();
    if (this.isOpen) watch.tell("onConnection", { state: "open", transport: this.transport });
    // An export that has ended needs no connection.
    if (this.isOpen || (watch.ids?.size <= PARALLEL_CALLS && !jobs.length)) await this.check();
    if (this.watches.size) this.link ??= new Link(this.http, this);
  }

  remove(watch) {
    this.watches.delete(watch);
    if (this.watches.size) return;
    this.link?.stop();
    this.runtime.clearTimeout(this.timer);
    this.jobs.clear();
    this.confirmed.clear();
    this.link = this.transport = this.contactedAt = undefined;
  }

  open(transport, jobs) {
    const isSame = transport === this.transport;
    const isGap = !isSame && this.contactedAt !== undefined;
    this.transport = transport;
    this.openings++;
    this.checks = 0;
    this.confirmed.clear();
    const hasNews = this.receive(jobs);
    if (!isSame) for (const watch of this.watches) watch.tell("onConnection", { state: "open", transport });
    // It opens with the latest exports only: more may have ended since the last connection.
    if (isGap && this.hasFilters) this.loadRecent().then((recent) => this.receive(recent), () => {});
    this.contactedAt = this.runtime.now();
    this.runtime.clearTimeout(this.timer);
    this.timer = this.runtime.setTimeout(() => this.check(), SNAPSHOT_MS); // a WebSocket does not tell where its first states end
    return hasNews;
  }

  lose(problem) {
    this.runtime.clearTimeout(this.timer);
    this.transport = undefined;
    for (const watch of [...this.watches]) watch.tell("onConnection", { state: "waiting", problem });
  }

  fail(problem) {
    for (const watch of [...this.watches]) watch.fail(problem);
  }

  receive(jobs, isCurrent = true) {
    let hasNews = false;
    for (const received of jobs) {
      const held = this.jobs.get(received.job_id);
      const isNew = !held || held.sequence < received.sequence;
      const job = isNew ? received : held;
      hasNews ||= isNew;
      this.jobs.delete(job.job_id);
      this.jobs.set(job.job_id, job);
      if (isCurrent) this.confirmed.add(job.job_id).add(job.export_id);
      for (const watch of [...this.watches]) watch.offer(job);
    }
    for (const job of this.jobs.values()) {
      if (this.jobs.size <= KEPT_STATES) break;
      if (hasEnded(job)) this.jobs.delete(job.job_id);
    }
    return hasNews;
  }

  async loadRecent(signal) {
    const gap = this.contactedAt ? this.runtime.now() - this.contactedAt : this.hasFilters ? 24 * HOUR_MS : 0;
    const hours = Math.min(24, Math.max(0, gap) / HOUR_MS + 0.2);
    return (await this.http.json("GET", "/api/exports/recent", { query: { hours }, signal, tries: 1 })).exports;
  }

  get unconfirmed() {
    const ids = [...this.watches].flatMap((watch) => [...watch.pending]);
    return [...new Set(ids)].filter((id) => !this.confirmed.has(id));
  }

  // Load the exports that the connection says nothing about: they have ended, are gone, or do not exist yet.
  check() {
    this.checking ??= this.load(this.unconfirmed).finally(() => {
      this.checking = undefined;
      if (!this.isOpen || !this.unconfirmed.length) return;
      const delay = Math.min(CHECK_MS * 2 ** this.checks++, MAX_BACKOFF_MS);
      this.runtime.clearTimeout(this.timer);
      this.timer = this.runtime.setTimeout(() => this.check(), delay * (0.5 + this.runtime.random()));
    });
    return this.checking;
  }

  async load(ids) {
    const opening = this.isOpen && this.openings;
    const loadNext = async () => {
      for (let id; (id = ids.shift()) !== undefined; ) {
        try {
          const job = await this.http.json("GET", `/api/exports/${encodeURIComponent(id)}`, { tries: 1 });
          this.receive([job], this.isOpen && opening === this.openings);
        } catch (problem) {
          this.miss(id, problem);
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_CALLS }, loadNext));
  }

  miss(id, problem) {
    if (problem.isTemporary) return;
    if (problem.status === 401) return this.fail(problem);
    for (const watch of [...this.watches]) {
      const mayCome = problem.status === 404 && !SERVER_ID.test(id) && this.runtime.now() - watch.since < UNKNOWN_MS;
      if (watch.pending.has(id) && !(mayCome && !watch.seen.has(id))) watch.fail(problem, id);
    }
  }
}

class Watch {
  seen = new Map(); // the sequence of the last state of each export

  constructor(feed, target, handlers = {}) {
    this.feed = feed;
    this.handlers = typeof handlers === "function" ? { onUpdate: handlers } : handlers;
    this.ids = typeof target === "string" || Array.isArray(target) ? new Set([target].flat()) : undefined;
    this.filter = Object.entries(this.ids ? {} : toWire(target ?? {}));
    this.pending = new Set(this.ids);
    this.since = feed.runtime.now();
    this.done = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.done.catch(() => {});
    this.onAbort = () => this.close();
    this.handlers.signal?.addEventListener("abort", this.onAbort);
  }

  get isDone() {
    return this.isClosed || (this.ids && !this.pending.size) || this.handlers.signal?.aborted;
  }

  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.handlers.signal?.removeEventListener("abort", this.onAbort);
    this.feed.remove(this);
    this.problem ? this.reject(this.problem) : this.resolve();
    this.onChange?.();
  }

  offer(job) {
    const key = this.keyOf(job);
    if (this.isClosed || key === undefined || job.sequence <= (this.seen.get(job.job_id) ?? 0)) return;
    this.seen.set(job.job_id, job.sequence);
    if (hasEnded(job)) this.pending.delete(key);
    else this.pending.add(key);
    this.enqueue(job);
    this.tell("onUpdate", job);
    if (hasEnded(job)) this.tell("onEnd", job);
    if (this.isDone) this.close();
  }

  // Return the id by which an export is watched; a filter goes on with one that it has shown until its end.
  keyOf(job) {
    if (this.ids) return [job.job_id, job.export_id].find((id) => this.ids.has(id));
    const isMatch = this.filter.every(([name, value]) => [value].flat().map(String).includes(String(job[name])));
    return isMatch || this.pending.has(job.job_id) ? job.job_id : undefined;
  }

  // Report a problem of one export, or of all: then the watch is over.
  fail(problem, id) {
    const options = { errors: problem.errors, retryAfter: problem.retryAfter, exportId: id, cause: problem.cause };
    const { status, code, detail } = problem;
    if (id === undefined) this.pending.clear();
    else this.pending.delete(id);
    const own = new FramehookProblem(status, code, detail, options);
    if (this.ids || id === undefined) {
      this.problem ??= own;
      this.tell("onProblem", own);
    }
    if (id === undefined || this.isDone) this.close();
  }

  tell(name, value) {
    try {
      this.handlers[name]?.(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error; // an error in a handler is the page's own, and must not stop the others
      });
    }
  }

  // A slow reader gets the newest state of each export, and every end.
  enqueue(job) {
    if (!this.queue) return;
    this.queue = this.queue.filter((queued) => queued.job_id !== job.job_id || hasEnded(queued)).concat(job);
    this.onChange?.();
  }

  async *[Symbol.asyncIterator]() {
    this.queue = [];
    try {
      for (;;) {
        while (this.queue.length) yield this.queue.shift();
        if (this.isClosed) return await this.done;
        await new Promise((resolve) => (this.onChange = resolve));
      }
    } finally {
      this.close();
    }
  }
}

// One file on its way to the storage, whole or in parts.
class Upload {
  sent = new Map(); // bytes by part

  constructor(http, file, { onProgress, signal, filename = file.name ?? "video", partsFrom = PARTS_FROM_BYTES }) {
    Object.assign(this, { http, file, onProgress, signal, filename, partsFrom, runtime: http.runtime });
    this.key = `framehook upload ${[http.base, filename, file.size, file.lastModified].join(" ")}`;
  }

  async run() {
    try {
      this.signal?.throwIfAborted();
      const target = (await this.resume()) ?? (await this.request());
      if (target.isStored) return { key: target.key, size: target.size };
      if (target.upload) return await this.sendAll(target);
      const put = { url: target.url, headers: target.headers, number: 1 };
      await this.http.repeat(PART_TRIES, this.signal, () => this.put(put, this.file), TEMPORARY_UPLOAD);
      return { key: target.key, size: this.file.size };
    } catch (error) {
      if (this.signal?.aborted) this.discard();
      throw error;
    }
  }

  call(method, upload, action = "", tries = CALL_TRIES) {
    return this.http.json(method, `/api/uploads/${encodeURIComponent(upload)}${action}`, { signal: this.signal, tries });
  }

  // Return the target of an unfinished upload of the same file.
  async resume() {
    const { upload, at } = this.remembered ?? {};
    if (!upload || this.runtime.now() - at > UPLOAD_AGE_MS) return undefined;
    for (const [method, action] of [["GET", ""], ["POST", "/complete"]]) {
      try {
        const target = await this.call(method, upload, action);
        this.upload = upload;
        return { ...target, upload, isStored: method === "POST" };
      } catch (problem) {
        if (problem.status !== 404) throw problem;
      }
    }
    this.forget();
    return undefined;
  }

  async request() {
    const { file, filename, signal, partsFrom } = this;
    const body = { filename, size: file.size, content_type: file.type || "application/octet-stream" };
    if (file.size >= partsFrom) body.parts = true;
    const target = await this.http.json("POST", "/api/uploads", { body, signal, tries: CALL_TRIES });
    if (target.upload) {
      this.upload = target.upload;
      this.remembered = { upload: target.upload, at: this.runtime.now() };
    }
    return target;
  }

  async sendAll(target) {
    const { upload } = this;
    for (let idleRounds = 0, problem; ; ) {
      for (const number of target.arrived) this.report(number, this.sliceOf(number, target).size);
      if (target.parts.length) problem = await this.sendParts(target);
      else {
        try {
          const { key, size } = await this.call("POST", upload, "/complete");
          this.forget();
          return { key, size };
        } catch (rejection) {
          if (rejection.status !== 409) throw rejection;
          problem = rejection;
        }
      }
      const arrived = target.arrived.length;
      target = await this.call("GET", upload);
      idleRounds = target.arrived.length > arrived ? 0 : idleRounds + 1;
      if (idleRounds === MAX_IDLE_ROUNDS) {
        throw problem ?? new FramehookProblem(0, "parts_lost", "The storage does not keep the parts; try again.");
      }
    }
  }

  // Send all parts; return the problem of one that an expired URL may explain.
  async sendParts(target) {
    const parts = [...target.parts];
    const controller = new AbortController();
    const stop = () => controller.abort();
    this.signal?.addEventListener("abort", stop);
    let rejection;
    const sendNext = async () => {
      for (let part; (part = parts.shift()) && !controller.signal.aborted; ) {
        const send = () => this.put(part, this.sliceOf(part.number, target), controller.signal);
        try {
          await this.http.repeat(PART_TRIES, controller.signal, send, TEMPORARY_UPLOAD);
        } catch (problem) {
          if (!EXPIRED.has(problem.status)) throw problem;
          rejection = problem;
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL_CALLS }, sendNext));
    } finally {
      stop();
      this.signal?.removeEventListener("abort", stop);
    }
    return rejection;
  }

  sliceOf(number, { part_size: size }) {
    return this.file.slice((number - 1) * size, number * size);
  }

  report(number, bytes) {
    this.sent.set(number, bytes);
    const sum = [...this.sent.values()].reduce((total, count) => total + count, 0);
    const loaded = (this.loaded = Math.min(Math.max(sum, this.loaded ?? 0), this.file.size));
    this.onProgress?.({ loaded, total: this.file.size, fraction: loaded / this.file.size });
  }

  async put({ url, headers = {}, number }, blob, signal = this.signal) {
    const { XMLHttpRequest } = this.runtime;
    try {
      if (XMLHttpRequest) await this.putWithProgress(new XMLHttpRequest(), url, headers, number, blob, signal);
      else await this.putWhole(url, headers, blob, signal);
    } catch (problem) {
      if (problem.isNetworkError) await this.checkReadable(blob);
      throw problem;
    }
    this.report(number, blob.size);
  }

  putWhole(url, headers, body, signal) {
    return this.http.limit(STALL_MS * 10, signal, async (aborted) => {
      const call = { method: "PUT", headers, body, signal: aborted, credentials: "omit" };
      const response = await this.runtime.fetch(url, call);
      if (!response.ok) throw toProblem(response.status, await response.text(), response.headers.get("Retry-After"));
    });
  }

  putWithProgress(request, url, headers, number, blob, signal) {
    return new Promise((resolve, reject) => {
      let timer;
      const abort = () => request.abort();
      const expectProgress = () => {
        this.runtime.clearTimeout(timer);
        timer = this.runtime.setTimeout(abort, STALL_MS);
      };
      const finish = () => {
        this.runtime.clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        const { status, responseText } = request;
        if (signal?.aborted) reject(signal.reason);
        else if (status >= 200 && status < 300) resolve();
        else reject(status ? toProblem(status, responseText, request.getResponseHeader("Retry-After")) : networkProblem());
      };
      request.open("PUT", url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = ({ loaded }) => {
        expectProgress();
        this.report(number, Math.min(loaded, blob.size));
      };
      request.onloadend = finish;
      signal?.addEventListener("abort", abort);
      expectProgress();
      request.send(blob);
    });
  }

  // Tell a file that has changed on disk from a network that is down.
  async checkReadable(blob) {
    try {
      await blob.slice(0, 1).arrayBuffer();
    } catch (cause) {
      const detail = "The file can't be read, perhaps because it has changed; choose it again.";
      throw new FramehookProblem(400, "file_unreadable", detail, { cause });
    }
  }

  discard() {
    if (this.upload) this.http.json("DELETE", `/api/uploads/${encodeURIComponent(this.upload)}`).catch(() => {});
    this.forget();
  }

  get remembered() {
    try {
      return JSON.parse(this.runtime.localStorage.getItem(this.key)) ?? undefined;
    } catch {
      return undefined; // there is no storage
    }
  }

  set remembered(value) {
    try {
      this.runtime.localStorage.setItem(this.key, JSON.stringify(value));
    } catch {
      // it is full or disabled: the upload can't be resumed after a reload
    }
  }

  forget() {
    try {
      this.runtime.localStorage.removeItem(this.key);
    } catch {
      // there is no storage
    }
  }
}

class Client {
  #http;
  #feed;

  constructor({ runtime, ...options }) {
    this.#http = new Http(options, findRuntime(runtime));
    this.#feed = new Feed(this.#http);
  }

  upload(file, options = {}) {
    return new Upload(this.#http, file, options).run();
  }

  async export(type, config, { idempotencyKey = randomId(), signal, ...options } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey };
    const body = { type, config, ...toWire(options) };
    return this.#http.json("POST", "/api/exports", { body, headers, signal, tries: CALL_TRIES });
  }

  watch(target, handlers) {
    return this.#watch(target, handlers, []);
  }

  #watch(target, handlers, jobs) {
    const watch = new Watch(this.#feed, target, handlers);
    this.#feed.add(watch, jobs);
    return watch;
  }

  // What ends between the two calls is in both answers, never in none.
  async recover(handlers) {
    const { exports: active } = await this.#http.json("GET", "/api/exports/active");
    const { exports: unacknowledged } = await this.#http.json("GET", "/api/exports/unacknowledged");
    const jobs = [...active, ...unacknowledged];
    const watch = this.#watch([...new Set(jobs.map((job) => job.job_id))], handlers, jobs);
    return { active, unacknowledged, watch };
  }

  async acknowledge(ids) {
    const body = ids && { job_ids: [ids].flat() };
    return (await this.#http.json("POST", "/api/exports/acknowledge", { body, tries: CALL_TRIES })).exports;
  }

  get(id) {
    return this.#http.json("GET", this.#path(id));
  }

  list(filter) {
    return this.#http.json("GET", "/api/exports", { query: filter });
  }

  cancel(id) {
    return this.#change("DELETE", this.#path(id), CALL_TRIES);
  }

  retry(id) {
    return this.#change("POST", `${this.#path(id)}/retry`, 1);
  }

  downloadUrl(id, options = {}) {
    const call = { body: toWire(options), tries: CALL_TRIES };
    return this.#http.json("POST", `${this.#path(id)}/download-url`, call);
  }

  close() {
    for (const watch of [...this.#feed.watches]) watch.close();
  }

  #path(id) {
    return `/api/exports/${encodeURIComponent(id)}`;
  }

  async #change(method, path, tries) {
    const job = await this.#http.json(method, path, { tries });
    if (this.#feed.watches.size) this.#feed.receive([job], false);
    return job;
  }
}
