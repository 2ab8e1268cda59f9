// The network between the tabs of a browser and the real service: every call of a client passes here, and may not arrive.

const networkError = () => new TypeError("The network failed.");
const abortError = () => new DOMException("The call was aborted.", "AbortError");
const isStreamPath = (path) => path === "/api/exports/events";

// One connection that brings states: a WebSocket or an event stream.
class Stream {
  constructor(network, tab, kind) {
    Object.assign(this, { network, tab, kind, isSilent: false, isDone: false, isReady: false });
    this.latest = new Map();
    network.streams.add(this);
  }

  note(jobs) {
    for (const job of jobs) this.latest.set(job.job_id, Math.max(job.sequence, this.latest.get(job.job_id) ?? 0));
    this.isReady = true;
    this.network.touch();
  }

  // Whether everything that the service has sent by now has arrived.
  hasCaughtUp(expected) {
    if (this.isDone || this.isSilent || !this.isReady) return true;
    return [...expected].every(([id, sequence]) => (this.latest.get(id) ?? 0) >= sequence);
  }

  finish() {
    if (this.isDone) return;
    this.isDone = true;
    this.network.streams.delete(this);
    this.stopReal();
    this.network.touch();
  }
}

export class Network {
  isDown = false; // connections are refused
  isBlackHole = false; // nothing arrives, and nothing fails
  socketMode = "ok"; // or "refuse", "hang", "mute"
  eventsMode = "ok"; // or "mute"
  isFull = false; // the service refuses streams
  isForgetful = false; // connections open without the exports that have ended, as after thousands of others
  failingCalls = 0; // calls that are answered with 503
  lostAnswers = 0; // calls that change something whose answer is lost
  goodTokensFrom = 0; // tokens with a smaller number have expired
  pending = 0;
  activity = 0;
  streams = new Set();
  calls = new Set();
  counts = { ticket: 0, websocket: 0, events: 0, poll: 0, other: 0 };

  constructor(clock, random, service) {
    Object.assign(this, { clock, random, service });
  }

  touch() {
    this.activity++;
    this.onTouch?.();
  }

  latency() {
    return this.clock.wait(this.random.between(1, 80));
  }

  countCall(method, path) {
    if (path === "/api/stream-tickets") this.counts.ticket++;
    else if (isStreamPath(path)) this.counts.events++;
    else if (path === "/api/exports/recent") this.counts.poll++;
    else this.counts.other++;
  }

  // Replace a token that has expired by one that the service refuses for that.
  authorize(headers) {
    const [, number, token] = /^Bearer (\d+)\|(.*)$/.exec(headers.Authorization ?? "") ?? [];
    if (token === undefined) return headers;
    const valid = Number(number) >= this.goodTokensFrom;
    return { ...headers, Authorization: `Bearer ${valid ? token : this.service.expiredToken}` };
  }

  isForgotten({ status }) {
    return this.isForgetful && ["error", "cancelled"].includes(status);
  }

  // Wait for a real answer while the tab still wants it; cuts and aborts end the wait.
  async race(signal, work) {
    let fail;
    const broken = new Promise((_, reject) => (fail = reject));
    const abort = () => fail(abortError());
    const call = { fail: () => fail(networkError()) };
    this.calls.add(call);
    signal?.addEventListener("abort", abort);
    try {
      if (signal?.aborted) throw abortError();
      return await Promise.race([broken, work()]);
    } finally {
      this.calls.delete(call);
      signal?.removeEventListener("abort", abort);
      broken.catch(() => {});
    }
  }

  async real(work) {
    this.pending++;
    try {
      return await work();
    } finally {
      this.pending--;
      this.touch();
    }
  }

  async fetch(tab, url, call = {}) {
    const { pathname } = new URL(url);
    const method = call.method ?? "GET";
    this.countCall(method, pathname);
    let result;
    try {
      result = await this.race(call.signal, () => this.exchange(tab, new URL(url), pathname, { ...call, method }));
    } catch (error) {
      result = error;
    }
    return new Promise((resolve, reject) =>
      tab.run(() => (result instanceof Error ? reject(result) : resolve(result))),
    );
  }

  async exchange(tab, url, path, call) {
    await this.latency();
    if (this.isBlackHole) return new Promise(() => {});
    if (this.isDown) throw networkError();
    if (this.failingCalls > 0 && !isStreamPath(path)) {
      this.failingCalls--;
      return new Response('{"type":"urn:framehook:problem:unavailable","detail":"Try again."}', {
        status: 503,
        headers: { "Content-Type": "application/problem+json", "Retry-After": "2" },
      });
    }
    const headers = this.authorize(call.headers);
    if (isStreamPath(path)) return this.openEvents(tab, url, headers, call.signal);
    const isChange = call.method !== "GET";
    const answer = await this.real(async () => {
      const response = await fetch(url, { method: call.method, headers, body: call.body });
      return { text: await response.text(), status: response.status, headers: response.headers };
    });
    await this.latency();
    if (this.isBlackHole) return new Promise(() => {});
    if (isChange && this.lostAnswers > 0) {
      this.lostAnswers--;
      throw networkError();
    }
    const body = answer.status === 204 ? null : answer.text;
    return new Response(body, { status: answer.status, headers: answer.headers });
  }

  async openEvents(tab, url, headers, signal) {
    const eventStream = { status: 200, headers: { "Content-Type": "text/event-stream" } };
    if (this.eventsMode === "mute") return new Promise(() => {});
    if (this.isFull) {
      const refusal = 'retry: 10000\nevent: stream.refused\ndata: {"reason":"too_many_streams"}\n\n';
      return new Response(refusal, eventStream);
    }
    const stopper = new AbortController();
    const response = await this.real(() => fetch(url, { headers, signal: stopper.signal }));
    if (!response.ok) {
      const text = await this.real(() => response.text());
      return new Response(text, { status: response.status, headers: response.headers });
    }
    const stream = new Stream(this, tab, "events");
    stream.stopReal = () => stopper.abort();
    if (tab.isDead) stream.finish();
    const body = new ReadableStream({
      start: (controller) => {
        stream.send = (text) => tab.run(() => !stream.isDone && controller.enqueue(new TextEncoder().encode(text)));
        stream.end = (error) => {
          if (stream.isDone) return;
          stream.finish();
          tab.run(() => (error ? controller.error(error) : controller.close()));
        };
        this.pumpEvents(stream, response.body);
      },
      cancel: () => stream.finish(),
    });
    stream.expire = () => {
      stream.send('event: stream.expired\ndata: {"reason":"token_expired"}\n\n');
      stream.end();
    };
    stream.restart = () => stream.end();
    stream.cut = () => stream.end(networkError());
    signal?.addEventListener("abort", () => stream.end(abortError()));
    if (signal?.aborted) stream.end(abortError());
    this.keepAlive(stream);
    return new Response(body, eventStream);
  }

  // The service's own comments follow real time.
  keepAlive(stream) {
    if (stream.isDone) return;
    if (!stream.isSilent && !this.isBlackHole) stream.send(": keep-alive\n");
    this.clock.setTimeout(() => this.keepAlive(stream), 15_000);
  }

  async pumpEvents(stream, body) {
    let rest = "";
    this.pending++; // until the first event has come
    try {
      for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
        const blocks = (rest + chunk).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.passEvent(stream, block);
      }
      stream.end();
    } catch {
      stream.end(networkError());
    } finally {
      if (!stream.isReady) this.pending--;
      this.touch();
    }
  }

  passEvent(stream, block) {
    const body = JSON.parse(/^data: (.*)$/m.exec(block)[1]);
    if (!stream.isReady) this.pending--;
    const shown = body.exports && { exports: body.exports.filter((job) => !this.isForgotten(job)) };
    const passed = shown ? block.replace(/^data: .*$/m, () => `data: ${JSON.stringify(shown)}`) : block;
    if (!stream.isSilent && !this.isBlackHole) stream.send(`${passed}\n\n`);
    else stream.isSilent = true; // what was lost never comes
    stream.note(body.exports ?? (body.job_id ? [body] : []));
  }

  socketClass(tab) {
    const network = this;
    return class {
      constructor(url) {
        network.counts.websocket++;
        network.connectSocket(this, tab, url);
      }

      send(text) {
        this.onSend?.(text);
      }

      close() {
        this.stream?.finish();
      }
    };
  }

  async connectSocket(socket, tab, url) {
    const stream = (socket.stream = new Stream(this, tab, "websocket"));
    stream.stopReal = () => {};
    stream.end = (code) => {
      if (stream.isDone) return;
      stream.finish();
      tab.run(() => socket.onclose?.({ code }));
    };
    stream.cut = () => stream.end(1006);
    stream.restart = () => stream.end(1012);
    stream.expire = () => stream.end(4401);
    await this.latency();
    if (this.isBlackHole || this.socketMode === "hang") return;
    if (this.isDown || this.socketMode === "refuse") return stream.end(1006);
    if (stream.isDone) return;
    this.joinSockets(socket, stream, tab, new WebSocket(url));
  }

  joinSockets(socket, stream, tab, real) {
    let isOpening = true;
    const endedBefore = new Map([...this.service.jobs].filter(([, job]) => this.isForgotten(job)));
    const settleOpening = () => {
      if (!isOpening) return;
      isOpening = false;
      this.pending--;
      this.touch();
    };
    this.pending++; // until the answer to the first ping
    stream.stopReal = () => {
      settleOpening();
      real.close();
    };
    const pass = (task) => !stream.isSilent && !this.isBlackHole && tab.run(() => !stream.isDone && task());
    real.onopen = () => {
      if (this.isFull) return stream.end(1013);
      real.send("ping");
      pass(() => socket.onopen?.({}));
    };
    socket.onSend = () => {
      if (!stream.isReady || this.socketMode === "mute") return;
      this.clock.setTimeout(() => pass(() => socket.onmessage?.({ data: "pong" })), 20);
    };
    real.onmessage = ({ data }) => {
      if (this.isBlackHole) stream.isSilent = true;
      const jobs = data === "pong" ? [] : [JSON.parse(data)];
      const isOld = jobs.some((job) => job.sequence <= endedBefore.get(job.job_id)?.sequence);
      if (this.socketMode === "mute") stream.isSilent = true;
      else if (!isOld) pass(() => socket.onmessage?.({ data }));
      if (!jobs.length) settleOpening();
      stream.note(jobs);
    };
    real.onclose = ({ code }) => {
      settleOpening();
      stream.end(code || 1006);
    };
  }

  dropTab(tab) {
    for (const stream of [...this.streams]) if (stream.tab === tab) stream.finish();
  }

  // Cut all connections.
  cut() {
    for (const stream of [...this.streams]) stream.cut();
    for (const call of [...this.calls]) call.fail();
  }

  // Let connections die without a sign.
  silence() {
    for (const stream of this.streams) stream.isSilent = true;
  }
}
