// One schedule from a seed: what users, runs and the network do, and when.

import { Browser } from "./browser.mjs";
import { checkConnections, checkEnd } from "./checker.mjs";
import { VirtualClock } from "./clock.mjs";
import { FAULTS } from "./faults.mjs";
import { Network } from "./network.mjs";
import { Random } from "./random.mjs";
import { EXPORT_CONFIG, Service } from "./service.mjs";

const STALL_MS = 60_000; // in real time, after which the schedule fails
const HEAL_LIMIT_MS = 1_200_000; // in virtual time
const MAX_ATTEMPTS = 3_000;
const ENDED = new Set(["complete", "error", "cancelled"]);

const immediate = () => new Promise((resolve) => setImmediate(resolve));

// Wait for what the service does, and fail rather than wait for ever.
async function failAfterStall(work) {
  let timer;
  const stall = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the service does not do what was asked of it")), STALL_MS);
  });
  try {
    await Promise.race([work, stall]);
  } finally {
    clearTimeout(timer);
  }
}

export class Schedule {
  violations = [];
  watches = [];
  submissions = [];
  jobIds = [];
  log = [];
  faultCount = 0;
  planned = 0;
  acting = Promise.resolve();
  tokenNumber = 0;
  tokenFailures = 0;

  constructor(seed, options, loadClient) {
    this.seed = seed;
    this.loadClient = loadClient;
    this.random = new Random(seed * 7919 + 17);
    this.clock = new VirtualClock();
    this.service = new Service(options, `user-${seed}-${options.run}`);
    this.network = new Network(this.clock, this.random, this.service);
    this.network.isForgetful = this.random.isLucky(0.3);
    this.browser = new Browser(this.clock, this.random, this.network, { isSharing: this.random.isLucky(0.85) });
  }

  note(text) {
    this.log.push(`${((this.clock.now - this.clock.startedAt) / 1000).toFixed(2)} ${text}`);
  }

  violate(text) {
    if (this.violations.length < 5) this.violations.push(text);
  }

  // Return what went wrong; nothing if all is well.
  async run() {
    try {
      this.network.onTouch = () => this.onChange?.();
      await this.service.openWitness(this.clock, () => this.network.touch());
      this.plan();
      this.openTab();
      await this.play(() => this.planned === 0);
      this.heal();
      const limit = this.clock.now + HEAL_LIMIT_MS;
      await this.play(() => this.isComplete || this.clock.now > limit);
      checkEnd(this);
      for (const tab of this.browser.liveTabs) if (tab.isFrozen) tab.kill();
      for (const tab of this.browser.liveTabs) tab.client.close();
      await this.settle();
      if (this.network.streams.size) this.violate("a connection outlives all watches");
      const timers = this.browser.liveTabs.reduce((sum, tab) => sum + this.clock.countTimers(tab), 0);
      if (timers) this.violate(`${timers} timers outlive all watches`);
    } catch (error) {
      this.violate(String(error.stack ?? error));
    } finally {
      for (const tab of this.browser.liveTabs) tab.kill();
      this.service.close();
    }
    return this.violations;
  }

  at(milliseconds, name, action) {
    this.planned++;
    this.clock.setTimeout(() => {
      this.note(name);
      this.acting = this.acting.then(action).finally(() => this.planned--);
    }, milliseconds);
  }

  plan() {
    const { random } = this;
    const length = random.between(20_000, 150_000);
    const exportCount = random.integer(1, 3);
    for (let number = 0; number < exportCount; number++) this.planExport(number, random.between(0, length / 2), length);
    for (let count = random.integer(1, 6); count > 0; count--) {
      const name = random.pick(Object.keys(FAULTS));
      this.at(random.between(0, length), name, () => {
        this.faultCount++;
        return FAULTS[name](this);
      });
    }
  }

  planExport(number, start, length) {
    const { random } = this;
    const bySelf = random.isLucky(0.6);
    let id;
    const withExport = (action) => () => (id ? action() : undefined);
    this.at(start, `export ${number}`, async () => {
      if (bySelf) this.submit(`call-${number}`);
      else this.addExport((id = await this.service.createExport(`other-${number}`)));
    });
    const times = Array.from({ length: random.integer(1, 5) }, () => random.between(start + 500, length)).sort((a, b) => a - b);
    times.forEach((time, index) => {
      this.at(time, `report ${number}`, async () => {
        id ??= bySelf ? await this.findSubmitted(`call-${number}`) : id;
        if (id) await this.service.report(id, index ? "export.progress" : "export.started", { progress: index * 10 });
      });
    });
    const end = random.pick(["fail", "cancel", "late", "retry"]);
    if (end === "late") return;
    this.at(length + random.between(0, 5_000), `${end} ${number}`, withExport(() => this.endExport(id, end)));
  }

  // Return the id of an export that a page has submitted, whether or not it got the answer.
  async findSubmitted(tag) {
    const { body } = await this.service.call("GET", "/api/exports?limit=100");
    const job = body.exports.find(({ project_id: project }) => project === tag);
    if (job) await this.service.waitUntilSpawned(job.job_id);
    return job?.job_id;
  }

  async endExport(id, end) {
    if (end === "cancel") {
      await this.service.call("DELETE", `/api/exports/${id}`);
      await this.service.waitUntil(() => ENDED.has(this.service.jobs.get(id).status));
      return;
    }
    await this.service.report(id, "export.failed", { error: { code: "no_video", message: "The file holds no video." } });
    if (end !== "retry") return;
    const before = this.service.jobs.get(id).attempt;
    const { status } = await this.service.call("POST", `/api/exports/${id}/retry`);
    if (status !== 202) return;
    await this.service.waitUntil(() => this.service.jobs.get(id).attempt > before && this.service.jobs.get(id).call_id);
  }

  get activeTab() {
    const tabs = this.browser.liveTabs.filter((tab) => !tab.isFrozen);
    return tabs.length ? this.random.pick(tabs) : undefined;
  }

  openTab({ isReload = false } = {}) {
    const tab = this.browser.openTab();
    const token = async () => {
      if (this.tokenFailures-- > 0) throw new Error("The identity provider does not answer.");
      this.tokenFailures = 0;
      return `${this.tokenNumber}|${this.service.token}`;
    };
    tab.client = this.loadClient(tab.globals).createClient({ baseUrl: this.service.url, token });
    if (isReload) this.recover(tab);
    if (!isReload || this.random.isLucky(0.5)) this.watch(tab, undefined);
    for (const id of this.jobIds) if (this.random.isLucky(0.5)) this.watch(tab, id);
    if (this.jobIds.length > 1 && this.random.isLucky(0.3)) this.watch(tab, [...this.jobIds]);
    return tab;
  }

  addExport(id) {
    this.jobIds.push(id);
    for (const tab of this.browser.liveTabs) if (!tab.isFrozen && this.random.isLucky(0.6)) this.watch(tab, id);
  }

  record(tab, target) {
    const record = { tab, target, states: [], problems: [], isOver: false, openedAt: this.clock.now };
    this.watches.push(record);
    return record;
  }

  handlersOf(record) {
    return {
      onUpdate: (job) => record.states.push(job),
      onProblem: (problem) => record.problems.push(problem),
      onConnection: (connection) => this.onConnection(record, connection),
    };
  }

  onConnection(record, { state, transport, problem }) {
    if (state === "open") record.connectedAt ??= this.clock.now;
    this.note(`${record.tab.name} ${state} ${transport ?? problem.code}`);
  }

  watch(tab, target) {
    const record = this.record(tab, target);
    const isIterated = this.random.isLucky(0.3);
    const { onConnection, ...others } = this.handlersOf(record);
    const watch = tab.client.watch(target, isIterated ? { onConnection } : { onConnection, ...others });
    watch.done.then(() => (record.isOver = true), (problem) => record.problems.push(problem));
    if (isIterated) this.iterate(watch, record);
  }

  async iterate(watch, record) {
    try {
      for await (const job of watch) record.states.push(job);
    } catch (problem) {
      record.problems.push(problem);
    }
  }

  async recover(tab) {
    const record = this.record(tab, []);
    for (;;) {
      try {
        const { active, unacknowledged, watch } = await tab.client.recover(this.handlersOf(record));
        record.target = [...new Set([...active, ...unacknowledged].map((job) => job.job_id))];
        return watch.done.then(() => (record.isOver = true), (problem) => record.problems.push(problem));
      } catch (problem) {
        if (!problem.isTemporary) return record.problems.push(problem);
        await new Promise((resolve) => tab.globals.setTimeout(resolve, 2_000));
      }
    }
  }

  async submit(tag) {
    const tab = this.activeTab;
    if (!tab) return;
    const submission = { tag, tab, isOver: false };
    this.submissions.push(submission);
    try {
      const job = await tab.client.export("framing", EXPORT_CONFIG, { projectId: tag });
      submission.id = job.job_id;
      this.jobIds.push(job.job_id);
      if (!tab.isDead) this.watch(tab, job.job_id);
    } catch (problem) {
      submission.problem = problem;
    } finally {
      submission.isOver = true;
    }
  }

  // End all faults, and let every export end.
  heal() {
    this.note("heal");
    const { network } = this;
    Object.assign(network, { isDown: false, isBlackHole: false, socketMode: "ok", eventsMode: "ok", isFull: false });
    Object.assign(network, { failingCalls: 0, lostAnswers: 0 });
    this.tokenFailures = 0;
    this.endAll();
  }

  // Let every export end once all pages know what became of their submissions.
  endAll() {
    this.at(5_000, "end all", async () => {
      if (this.isSubmitting) return this.endAll();
      const { body } = await this.service.call("GET", "/api/exports?limit=100");
      for (const { job_id: id } of body.exports) {
        await this.service.waitUntilSpawned(id);
        if (!ENDED.has(this.service.jobs.get(id).status)) await this.endExport(id, "fail");
      }
      this.final = (await this.service.call("GET", "/api/exports?limit=100")).body.exports;
    });
  }

  get isSubmitting() {
    return this.submissions.some(({ tab, isOver }) => !tab.isDead && !tab.isFrozen && !isOver);
  }

  // Whether every watch in a live tab has got what it has to get.
  get isComplete() {
    if (!this.final || this.isSubmitting) return false;
    return this.watches.every((record) => {
      const { tab, target, states, isOver } = record;
      if (tab.isDead || tab.isFrozen) return true;
      if (target !== undefined) return isOver;
      return this.final.every((job) => {
        const seen = states.filter((state) => state.job_id === job.job_id).at(-1);
        return seen?.sequence === job.sequence || this.mayMiss(record, job.job_id);
      });
    });
  }

  // Whether an export had ended before the first connection of a watch, which may not show it.
  mayMiss({ connectedAt }, id) {
    return this.network.isForgetful && !(this.service.changedAt.get(id) > connectedAt);
  }

  get attempts() {
    const { ticket, websocket, events, poll } = this.network.counts;
    return ticket + websocket + events + poll;
  }

  // Let time pass, one timer after another, until the condition holds.
  async play(isOver) {
    for (;;) {
      await this.settle();
      checkConnections(this);
      if (isOver()) return;
      if (this.attempts > MAX_ATTEMPTS) throw new Error(`more than ${MAX_ATTEMPTS} connection attempts`);
      const next = this.clock.nextAt;
      if (next === Infinity) throw new Error("nothing is left to happen");
      this.clock.advance(next);
      await failAfterStall(this.acting);
    }
  }

  // Wait until all that the service has sent has arrived, and the pages have dealt with it.
  async settle() {
    const startedAt = Date.now();
    for (let quiet = 0, seen = -1; quiet < 3; ) {
      await immediate();
      if (Date.now() - startedAt > STALL_MS) throw new Error("the service does not answer");
      const { latest } = this.service;
      const isBusy = this.network.pending > 0 || [...this.network.streams].some((stream) => !stream.hasCaughtUp(latest));
      if (isBusy) await this.waitForChange();
      quiet = !isBusy && this.network.activity === seen ? quiet + 1 : 0;
      seen = this.network.activity;
    }
  }

  waitForChange() {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1_000);
      this.onChange = () => {
        clearTimeout(timer);
        this.onChange = undefined;
        resolve();
      };
    });
  }
}
