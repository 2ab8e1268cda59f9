// Described in framehook.d.ts and ARCHITECTURE.md.

const HANDSHAKE_MS = 8_000;
const PING_MS = 20_000;
const PONG_MS = 10_000;
const SILENCE_MS = 45_000;
const MINUTE_MS = 60_000;
const TRANSPORTS = ["websocket", "events"];
const MAX_BACKOFF_MS = 30_000;
const ANSWER_MS = 5_000;
const PARALLEL = 4;
const UNREACHABLE = [0, 502, 503, 504];
const TEMPORARY = [...UNREACHABLE, 408, 425, 429];
const SERVER_ID = /^.{8}-.{4}-7.{3}-.{4}-.{12}$/;

export class FramehookProblem extends Error {
	constructor(fields) {
		super(fields.detail, fields);
		Object.assign(this, { name: "FramehookProblem", errors: [], retryAfter: 0 }, fields);
	}

	get isNetworkError() {
		return this.status === 0;
	}

	get isTemporary() {
		return TEMPORARY.includes(this.status) || this.status >= 500 || this.code === "unexpected_response";
	}
}

export function hasEnded(job) {
	return ["complete", "error", "cancelled"].includes(job.status);
}

export function createClient(options) {
	const http = new Http(options);
	const feed = new Feed(http);
	const call = (method, id, action = "", more = {}) =>
		http.json(method, `/api/exports/${encodeURIComponent(id)}${action}`, more);
	const change = async (...parts) => {
		const job = await call(...parts);
		feed.receive([job], false);
		return job;
	};
	const watch = (target, handlers, jobs = []) => {
		const opened = new Watch(feed, target, handlers);
		feed.add(opened, jobs);
		return opened;
	};
	return {
		upload: (file, more) => new Upload(http, file, more).run(),

		export(type, config, { idempotencyKey = randomId(), signal, ...more } = {}) {
			const headers = { "Idempotency-Key": idempotencyKey };
			return http.json("POST", "/api/exports", { body: { type, config, ...toWire(more) }, headers, signal, tries: 3 });
		},

		watch: (target, handlers) => watch(target, handlers),

		async recover(handlers) {
			const { exports: active } = await http.json("GET", "/api/exports/active");
			const { exports: unacknowledged } = await http.json("GET", "/api/exports/unacknowledged");
			const jobs = [...active, ...unacknowledged];
			return { active, unacknowledged, watch: watch(jobs.map((job) => job.job_id), handlers, jobs) };
		},

		async acknowledge(ids) {
			const body = ids && { job_ids: [ids].flat() };
			return (await http.json("POST", "/api/exports/acknowledge", { body, tries: 3 })).exports;
		},

		get: (id) => call("GET", id),
		list: (filter) => http.json("GET", "/api/exports", { query: filter }),
		cancel: (id) => change("DELETE", id),
		retry: (id) => change("POST", id, "/retry"),
		downloadUrl: (id, options) => call("POST", id, "/download-url", { body: toWire(options), tries: 3 }),
		request: (...parts) => http.json(...parts),
		close: () => feed.each((watch) => watch.close()),
	};
}

function networkProblem(cause, code = "network_error", detail = "The service can't be reached.") {
	return new FramehookProblem({ status: 0, code, detail, cause });
}

function toProblem(status, text, delay) {
	let body = {};
	try {
		body = JSON.parse(text);
	} catch {}
	const { type = "unexpected_response", detail = `The service answered with status ${status}.`, errors = [] } = body;
	const retryAfter = Number(delay) || Math.max(0, Date.parse(delay) - Date.now()) / 1000 || 0;
	return new FramehookProblem({ status, code: type.split(":").pop(), detail, errors, retryAfter });
}

async function problemOf(response) {
	return toProblem(response.status, await response.text(), response.headers.get("Retry-After"));
}

function toWire(options = {}) {
	const given = Object.entries(options).filter(([, value]) => value !== undefined);
	return Object.fromEntries(given.map(([name, value]) => [name.replace(/[A-Z]/g, "_$&").toLowerCase(), value]));
}

function userOf(ticket) {
	try {
		return JSON.parse(atob(ticket.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub;
	} catch {}
}

function randomId() {
	return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

function runParallel(items, run) {
	const runNext = async () => {
		while (items.length) await run(items.shift());
	};
	return Promise.all(Array.from({ length: PARALLEL }, runNext));
}

class Http {
	constructor({ baseUrl = globalThis.location?.origin, token, credentials = "same-origin" } = {}) {
		this.base = new URL(baseUrl, globalThis.location?.href).href.replace(/\/*([?#].*)?$/, "");
		Object.assign(this, { source: token, canRenew: typeof token === "function", credentials });
	}

	url(path, query) {
		const url = new URL(this.base + path);
		for (const [name, value] of Object.entries(toWire(query))) {
			for (const item of [value].flat()) url.searchParams.append(name, item);
		}
		return url;
	}

	async token() {
		if (!this.canRenew) return this.source;
		this.pending ??= Promise.resolve().then(this.source);
		try {
			return (this.held = await this.pending);
		} catch (cause) {
			this.pending = undefined;
			throw networkProblem(cause, "token_unavailable", "The page could not get a token.");
		}
	}

	forgetToken(token = this.held) {
		if (token === this.held) this.held = this.pending = undefined;
	}

	async send(method, path, { query, headers, body, signal }) {
		for (let isRenewed = false; ; isRenewed = true) {
			const token = await this.token();
			const authorization = token && { Authorization: `Bearer ${token}` };
			const call = { method, body, signal, credentials: this.credentials, cache: "no-store" };
			const response = await fetch(this.url(path, query), { ...call, headers: { ...headers, ...authorization } });
			if (response.ok) return response;
			const problem = await problemOf(response);
			if (problem.status !== 401 || !this.canRenew || isRenewed) throw problem;
			this.forgetToken(token);
		}
	}

	json(method, path, { body, headers, signal, query, tries = method === "POST" ? 1 : 3 } = {}) {
		if (body) headers = { ...headers, "Content-Type": "application/json" };
		const call = { query, headers, body: body && JSON.stringify(body) };
		const send = async (limited) => {
			const response = await this.send(method, path, { ...call, signal: limited });
			const text = await response.text();
			try {
				return text && JSON.parse(text);
			} catch {
				throw toProblem(response.status, text);
			}
		};
		return this.repeat(tries, UNREACHABLE, signal, () => this.limit(30_000, signal, send));
	}

	async limit(milliseconds, signal, call) {
		const timeout = new AbortController();
		const timer = setTimeout(() => timeout.abort(), milliseconds);
		try {
			return await call(AbortSignal.any([timeout.signal, signal].filter(Boolean)));
		} catch (error) {
			signal?.throwIfAborted();
			throw error instanceof FramehookProblem ? error : networkProblem(error);
		} finally {
			clearTimeout(timer);
		}
	}

	async repeat(tries, statuses, signal, call) {
		for (let failures = 0; ; failures++) {
			try {
				return await call();
			} catch (problem) {
				if (failures + 1 >= tries || !statuses.includes(problem.status) || problem.retryAfter > 60) throw problem;
				await new Promise((resolve) => {
					const timer = setTimeout(resolve, problem.retryAfter * 1000 + this.jitter(failures));
					signal?.addEventListener("abort", () => resolve(clearTimeout(timer)));
				});
			}
		}
	}

	jitter(failures) {
		return Math.random() * Math.min(1_000 * 2 ** failures, MAX_BACKOFF_MS);
	}
}

// WebSocket, else event stream, else polling.
class Link {
	failures = 0;
	polls = 0;
	level = 0;
	penalties = 0;
	deaths = 0;

	constructor(http, feed, signal) {
		Object.assign(this, { http, feed, signal });
		this.tabs = new Tabs(http.base, feed, () => this.abort?.());
		for (const name of ["online", "visibilitychange", "pageshow"]) {
			globalThis.window?.addEventListener(name, () => this.wake(), { signal });
		}
		signal.addEventListener("abort", () => {
			clearTimeout(this.pause);
			this.abort?.();
			this.tabs.leave();
		});
		this.run();
	}

	get isOver() {
		return this.signal.aborted || !this.tabs.leads;
	}

	async run() {
		for (;;) {
			let delay;
			try {
				delay = await this.connect();
			} catch (problem) {
				if (this.signal.aborted) return;
				if (!problem.isTemporary) return this.feed.each((watch) => watch.fail(problem));
				delay = this.lose(problem, problem.retryAfter * 1000);
			}
			if (this.signal.aborted) return;
			await new Promise((resolve) => {
				this.resume = resolve;
				this.pause = setTimeout(resolve, delay);
			});
			this.resume = undefined;
		}
	}

	async connect() {
		if (Date.now() > this.retryAt) this.level = 0;
		if (!this.tabs.leads || this.level === 0) {
			const { ticket } = await this.http.json("POST", "/api/stream-tickets", { signal: this.signal });
			if (await this.tabs.lead(userOf(ticket))) return 0; // the ticket may have expired
			this.ticket = ticket;
		}
		while (!this.isOver) {
			if (this.level === TRANSPORTS.length) return this.poll();
			const { isProven, openedAt, requested } = await this.hold(TRANSPORTS[this.level]);
			const life = isProven ? Date.now() - openedAt : 0;
			if (life > PONG_MS) this.failures = 0;
			if (life > MINUTE_MS) this.deaths = this.penalties = 0;
			else if (!isProven || ++this.deaths > 2) {
				this.level++;
				this.retryAt = Date.now() + (requested || Math.min(10_000 * 2 ** ++this.penalties, 600_000));
			}
			if (isProven) return this.lose(networkProblem(), requested);
		}
		return 0;
	}

	async poll() {
		this.open("polling", await this.feed.loadRecent());
		this.failures = 0;
		return Math.min(2_000 * 1.3 ** this.polls++, 10_000) * (0.5 + Math.random());
	}

	async hold(transport) {
		const end = { transport, requested: 0 };
		const controller = new AbortController();
		const { signal } = controller;
		let timer;
		this.abort = () => controller.abort();
		const expect = (milliseconds, then = this.abort) => {
			clearTimeout(timer);
			timer = setTimeout(then, milliseconds);
		};
		expect(HANDSHAKE_MS);
		try {
			await (transport === "events" ? this.openEvents(signal, end, expect) : this.openSocket(signal, end, expect));
		} catch (problem) {
			if (problem instanceof FramehookProblem && !problem.isTemporary) throw problem;
			end.requested = problem.retryAfter * 1000 || 0;
		} finally {
			clearTimeout(timer);
			this.abort();
			this.abort = this.probe = undefined;
		}
		return end;
	}

	openSocket(signal, end, expect) {
		return new Promise((resolve) => {
			const url = this.http.url("/ws/exports", { ticket: this.ticket });
			url.protocol = url.protocol.replace("http", "ws");
			const socket = new WebSocket(url.href);
			const ping = () => {
				socket.send("ping");
				expect(PONG_MS);
			};
			socket.onopen = () => {
				this.probe = ping;
				ping();
			};
			socket.onmessage = ({ data }) => {
				this.deliver(end, data === "pong" ? [] : [JSON.parse(data)]);
				expect(PING_MS, ping);
			};
			socket.onclose = ({ code }) => {
				if (code === 1013) end.requested = 10_000 * (1 + Math.random());
				if (code === 4401) this.http.forgetToken();
				resolve();
			};
			signal.addEventListener("abort", () => {
				socket.onopen = socket.onmessage = socket.onclose = null;
				socket.close();
				resolve();
			});
		});
	}

	async openEvents(signal, end, expect) {
		const response = await this.http.send("GET", "/api/exports/events", { signal });
		this.probe = () => Date.now() - this.feed.contactedAt > PING_MS && this.abort();
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		let rest = "";
		for (let chunk; !(chunk = await reader.read()).done; ) {
			const blocks = (rest + chunk.value).split("\n\n");
			rest = blocks.pop();
			for (const block of blocks) this.onEvent(block, end);
			if (!end.isProven) continue;
			this.feed.contactedAt = Date.now();
			expect(SILENCE_MS);
		}
	}

	onEvent(block, end) {
		const fields = [...block.matchAll(/^(\w+): ?(.*)$/gm)].map(([, name, value]) => [name, value]);
		const { event, data, retry } = Object.fromEntries(fields);
		if (retry) end.requested = Number(retry);
		if (!event) return;
		const body = JSON.parse(data);
		if (event === "stream.expired") this.http.forgetToken();
		if (event.startsWith("export.")) this.deliver(end, body.exports ?? [body]);
	}

	deliver(end, jobs) {
		if (end.isProven) {
			this.feed.receive(jobs);
			if (jobs.length) this.tabs.post({ kind: "states", jobs });
		} else {
			Object.assign(end, { isProven: true, openedAt: Date.now() });
			this.open(end.transport, jobs);
		}
		this.feed.contactedAt = Date.now();
	}

	open(transport, jobs) {
		if (this.feed.open(transport, jobs)) this.polls = 0;
		this.tabs.post({ kind: "open", jobs });
	}

	lose(problem, requested) {
		this.feed.lose(problem);
		this.tabs.post({ kind: "lost" });
		return Math.min(requested, MINUTE_MS) + this.http.jitter(this.failures++);
	}

	wake() {
		const now = Date.now();
		if (now - this.wokenAt < ANSWER_MS) return;
		this.wokenAt = now;
		if (this.probe) return this.probe();
		clearTimeout(this.pause);
		if (this.resume) this.pause = setTimeout(this.resume, this.http.jitter(0));
	}
}

// The tab that holds the lock connects for all.
class Tabs {
	constructor(base, feed, onDeposed) {
		Object.assign(this, { base, feed, onDeposed });
	}

	async lead(user) {
		const name = `framehook ${this.base} ${user}`;
		if (name !== this.name) this.leave();
		this.name = name;
		this.leads ||= user === undefined || !globalThis.navigator?.locks;
		if (this.leads) return false;
		this.channel ??= new BroadcastChannel(name);
		this.channel.onmessage = ({ data }) => this.onMessage(data);
		const since = Date.now();
		const turn = new Promise((resolve) => (this.onTurn = resolve));
		this.ask("hello");
		this.requestLock();
		await turn;
		return Date.now() - since > ANSWER_MS;
	}

	leave() {
		clearTimeout(this.timer);
		this.cancel?.();
		this.release?.();
		this.channel?.close();
		this.onTurn?.();
		this.leads = this.name = this.channel = this.cancel = this.release = undefined;
	}

	requestLock(options) {
		const { channel } = this;
		const controller = new AbortController();
		let release;
		const hold = () => {
			if (this.channel !== channel) return undefined;
			const end = new Promise((resolve) => (release = resolve));
			clearTimeout(this.timer);
			Object.assign(this, { leads: true, release, cancel: undefined });
			this.post({ kind: "here" });
			this.onTurn();
			return end;
		};
		this.cancel = () => controller.abort();
		navigator.locks.request(this.name, options ?? { signal: controller.signal }, hold).catch(() => {
			if (!release || this.release !== release) return;
			Object.assign(this, { leads: false, release: undefined });
			this.onDeposed();
		});
	}

	// A frozen leader loses the lock.
	ask(kind) {
		this.channel.postMessage({ kind });
		this.wait(ANSWER_MS * (1 + Math.random()), () => {
			this.cancel?.();
			this.requestLock({ steal: true });
		});
	}

	wait(milliseconds, then) {
		clearTimeout(this.timer);
		this.timer = setTimeout(then, milliseconds);
	}

	post(message) {
		if (this.leads) this.channel?.postMessage(message);
	}

	onMessage({ kind, jobs }) {
		const { feed } = this;
		if (this.leads) {
			if (kind === "ask") this.post({ kind: "here" });
			if (kind === "hello") this.post({ kind: feed.transport ? "open" : "lost", jobs: feed.confirmedJobs });
		} else if (kind !== "ask" && kind !== "hello") {
			this.wait(3 * ANSWER_MS, () => this.ask("ask"));
			if (kind === "states") feed.receive(jobs);
			if (kind === "open") feed.open("tab", jobs);
			if (kind === "lost") feed.lose(networkProblem());
		}
	}
}

class Feed {
	jobs = new Map();
	confirmed = new Set(); // since the connection opened
	watches = new Set();

	constructor(http) {
		this.http = http;
	}

	get hasFilters() {
		return [...this.watches].some((watch) => !watch.ids);
	}

	get confirmedJobs() {
		return [...this.jobs.values()].filter((job) => this.confirmed.has(job.job_id));
	}

	get unconfirmed() {
		const ids = [...this.watches].flatMap((watch) => [...watch.pending]);
		return [...new Set(ids)].filter((id) => !this.confirmed.has(id));
	}

	async add(watch, jobs) {
		this.watches.add(watch);
		this.stopper ??= new AbortController();
		await null; // handlers run later
		this.receive([...this.confirmedJobs, ...jobs]);
		if (watch.isDone) return watch.close();
		if (this.transport) watch.tell("onConnection", { state: "open", transport: this.transport });
		// What has ended needs no connection.
		if (this.transport || (watch.ids?.size <= PARALLEL && !jobs.length)) await this.check();
		if (!watch.isClosed) this.link ??= new Link(this.http, this, this.stopper.signal);
	}

	remove(watch) {
		this.watches.delete(watch);
		if (this.watches.size) return;
		this.stopper?.abort();
		clearTimeout(this.timer);
		this.jobs.clear();
		this.confirmed.clear();
		this.stopper = this.link = this.transport = this.contactedAt = this.checking = undefined;
	}

	open(transport, jobs) {
		const isSame = transport === this.transport;
		const hadContact = this.contactedAt;
		this.transport = transport;
		this.opening = {};
		this.checks = 0;
		this.confirmed.clear();
		const hasNews = this.receive(jobs);
		if (!this.watches.size) return hasNews;
		if (!isSame) this.each((watch) => watch.tell("onConnection", { state: "open", transport }));
		if (hadContact && transport !== "polling" && this.hasFilters) this.loadRecent().then((recent) => this.receive(recent), () => {});
		this.contactedAt = Date.now();
		this.checkAfter(500);
		return hasNews;
	}

	lose(problem) {
		clearTimeout(this.timer);
		this.transport = undefined;
		this.each((watch) => watch.tell("onConnection", { state: "waiting", problem }));
	}

	each(run) {
		[...this.watches].forEach(run);
	}

	receive(jobs, isCurrent = true) {
		let hasNews = false;
		if (!this.watches.size) return hasNews;
		for (const received of jobs) {
			const { job_id: id, export_id: chosenId } = received;
			const held = this.jobs.get(id);
			const isNew = !(held?.sequence >= received.sequence);
			// A new place has no sequence.
			const isMoved = held?.sequence === received.sequence && JSON.stringify(held.queue) !== JSON.stringify(received.queue);
			const job = isNew || isMoved ? received : held;
			hasNews ||= isNew;
			this.jobs.delete(id);
			this.jobs.set(id, job);
			if (isCurrent) this.confirmed.add(id).add(chosenId);
			this.each((watch) => watch.offer(job, isMoved));
		}
		for (const [id, job] of this.jobs) {
			if (this.jobs.size > 1_000 && hasEnded(job)) this.jobs.delete(id);
		}
		return hasNews;
	}

	async loadRecent() {
		const gap = this.contactedAt ? (Date.now() - this.contactedAt) / 3_600_000 : this.hasFilters ? 24 : 0;
		const hours = Math.min(24, Math.max(0, gap) + 0.2);
		const { signal } = this.stopper;
		return (await this.http.json("GET", "/api/exports/recent", { query: { hours }, signal, tries: 1 })).exports;
	}

	checkAfter(milliseconds) {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.check(), milliseconds);
	}

	check() {
		const { opening, transport, stopper } = this;
		this.checking ??= runParallel(this.unconfirmed, (id) => this.load(id, transport && opening, stopper.signal)).finally(() => {
			this.checking = undefined;
			if (!this.transport || !this.unconfirmed.length) return;
			this.checkAfter(Math.min(2_000 * 2 ** this.checks++, MAX_BACKOFF_MS) * (0.5 + Math.random()));
		});
		return this.checking;
	}

	async load(id, opening, signal) {
		try {
			const job = await this.http.json("GET", `/api/exports/${encodeURIComponent(id)}`, { tries: 1, signal });
			this.receive([job], this.transport && opening === this.opening);
		} catch (problem) {
			if (signal.aborted || problem.isTemporary) return;
			this.each((watch) => (problem.status === 401 ? watch.fail(problem) : watch.miss(id, problem)));
		}
	}
}

class Watch {
	seen = new Map();

	constructor(feed, target, handlers = {}) {
		Object.assign(this, { feed, handlers: typeof handlers === "function" ? { onUpdate: handlers } : handlers });
		this.ids = typeof target === "string" || Array.isArray(target) ? new Set([target].flat()) : undefined;
		this.filter = Object.entries(this.ids ? {} : toWire(target));
		this.pending = new Set(this.ids);
		this.since = Date.now();
		Object.assign(this, Promise.withResolvers());
		this.done = this.promise;
		this.done.catch(() => {});
		this.handlers.signal?.addEventListener("abort", () => this.close());
	}

	get isDone() {
		return this.isClosed || (this.ids && !this.pending.size) || this.handlers.signal?.aborted;
	}

	close() {
		if (this.isClosed) return;
		this.isClosed = true;
		this.feed.remove(this);
		if (this.problem) this.reject(this.problem);
		this.resolve();
		this.onChange?.();
	}

	offer(job, isMoved) {
		const key = this.keyOf(job);
		if (this.isClosed || key === undefined || job.sequence <= this.seen.get(job.job_id) - isMoved) return;
		this.seen.set(job.job_id, job.sequence);
		this.pending[hasEnded(job) ? "delete" : "add"](key);
		this.queue = this.queue?.filter((queued) => queued.job_id !== job.job_id || hasEnded(queued)).concat(job);
		this.onChange?.();
		this.tell("onUpdate", job);
		const end = key + job.completed_at;
		if (hasEnded(job) && !this.seen.has(end)) this.tell("onEnd", job);
		this.seen.set(end);
		if (this.isDone) this.close();
	}

	keyOf(job) {
		const { job_id: id, export_id: chosenId } = job;
		if (this.ids) return [id, chosenId].find((candidate) => this.ids.has(candidate));
		const isMatch = this.filter.every(([name, value]) => [value].flat().map(String).includes(String(job[name])));
		return isMatch || this.pending.has(id) ? id : undefined;
	}

	miss(id, problem) {
		const isYoung = Date.now() - this.since < MINUTE_MS;
		const mayCome = problem.status === 404 && isYoung && !SERVER_ID.test(id) && !this.seen.has(id);
		if (this.pending.has(id) && !mayCome) this.fail(problem, id);
	}

	fail(problem, id) {
		const own = new FramehookProblem({ ...problem, exportId: id });
		this.pending.delete(id);
		if (this.ids || !id) {
			this.problem ??= own;
			this.tell("onProblem", own);
		}
		if (!id || this.isDone) this.close();
	}

	tell(name, value) {
		try {
			this.handlers[name]?.(value);
		} catch (error) {
			Promise.reject(error); // the page's own error
		}
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

class Upload {
	sent = new Map();

	constructor(http, file, { onProgress, signal, filename = file.name ?? "video", partsFrom = 16 * 2 ** 20 } = {}) {
		Object.assign(this, { http, file, onProgress, signal, filename, partsFrom });
		this.key = ["framehook upload", http.base, filename, file.size, file.lastModified].join(" ");
	}

	async run() {
		try {
			return await this.send();
		} catch (problem) {
			if (this.signal?.aborted) {
				this.memory("removeItem");
				if (this.upload) this.call("DELETE", "", null).catch(() => {});
			}
			throw problem;
		}
	}

	async send() {
		let target = (await this.resume()) ?? (await this.create());
		if (!target.upload) {
			const rejection = await this.sendParts([{ ...target, number: 1 }], this.file.size);
			if (rejection) throw rejection;
			return { key: target.key, size: this.file.size };
		}
		for (let idleRounds = 0; ; ) {
			const { arrived, parts, part_size: size } = target;
			for (const number of arrived) this.report(number, this.slice(number, size).size);
			const rejection = await this.sendParts(parts, size);
			try {
				const { key } = await this.call("POST", "/complete");
				this.memory("removeItem");
				return { key, size: this.file.size };
			} catch (problem) {
				if (problem.status !== 409) throw problem;
				target = await this.call("GET");
				idleRounds = target.arrived.length > arrived.length ? 0 : idleRounds + 1;
				if (idleRounds === 3) throw rejection ?? problem;
			}
		}
	}

	async resume() {
		this.upload = this.memory("getItem");
		try {
			return this.upload && (await this.call("GET"));
		} catch (problem) {
			if (problem.status !== 404) throw problem;
			this.memory("removeItem");
		}
	}

	async create() {
		const { file, filename, signal } = this;
		const body = { filename, size: file.size, content_type: file.type || "application/octet-stream" };
		if (file.size >= this.partsFrom) body.parts = true;
		const target = await this.http.json("POST", "/api/uploads", { body, signal, tries: 3 });
		this.upload = target.upload;
		if (this.upload) this.memory("setItem", this.upload);
		return target;
	}

	call(method, action = "", signal = this.signal) {
		return this.http.json(method, `/api/uploads/${encodeURIComponent(this.upload)}${action}`, { signal, tries: 3 });
	}

	async sendParts(parts, size) {
		const controller = new AbortController();
		const signal = AbortSignal.any([controller.signal, this.signal].filter(Boolean));
		let rejection;
		try {
			await runParallel([...parts], async (part) => {
				const blob = this.slice(part.number, size);
				try {
					await this.http.repeat(8, TEMPORARY, signal, () => this.put(part, blob, signal));
					this.report(part.number, blob.size);
				} catch (problem) {
					if (signal.aborted || problem.isTemporary) throw problem;
					rejection = problem;
				}
			});
		} finally {
			controller.abort();
		}
		return rejection;
	}

	slice(number, size) {
		return this.file.slice((number - 1) * size, number * size);
	}

	report(number, bytes) {
		this.sent.set(number, bytes);
		const total = this.file.size;
		const sum = [...this.sent.values()].reduce((part, count) => part + count);
		const loaded = (this.loaded = Math.max(sum, this.loaded ?? 0));
		this.onProgress?.({ loaded, total, fraction: loaded / total });
	}

	put({ url, headers = {}, number }, blob, signal) {
		const timeout = MINUTE_MS + blob.size / 5;
		if (typeof XMLHttpRequest === "function") return this.putWithProgress(url, headers, number, blob, signal, timeout);
		return this.http.limit(timeout, signal, async (limited) => {
			const response = await fetch(url, { method: "PUT", headers, body: blob, signal: limited, credentials: "omit" });
			if (!response.ok) throw await problemOf(response);
		});
	}

	putWithProgress(url, headers, number, blob, signal, timeout) {
		return new Promise((resolve, reject) => {
			const request = new XMLHttpRequest();
			request.open("PUT", url);
			request.timeout = timeout;
			for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
			request.upload.onprogress = ({ loaded }) => this.report(number, Math.min(loaded, blob.size));
			request.onloadend = () => {
				const { status, responseText } = request;
				if (status >= 200 && status < 300) resolve();
				else if (signal.aborted) reject(signal.reason);
				else reject(status ? toProblem(status, responseText, request.getResponseHeader("Retry-After")) : networkProblem());
			};
			signal.addEventListener("abort", () => request.abort());
			signal.throwIfAborted();
			request.send(blob);
		});
	}

	memory(method, ...value) {
		try {
			return localStorage[method](this.key, ...value);
		} catch {}
	}
}
