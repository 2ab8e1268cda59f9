// The real service from the side of its runs and of another device: exports are created and reported without faults.

import { createHmac } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";

const SOURCE = "uploads/match.mp4";
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");
const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac("sha256", key)).digest();

export const EXPORT_CONFIG = {
  input_key: SOURCE,
  keyframes: [{ time: 0, x: 0, y: 0, width: 320, height: 180 }],
};

export class Service {
  constructor({ url, jwtSecret, callbackSecret, dataFolder }, user) {
    Object.assign(this, { url, jwtSecret, callbackSecret, user });
    const folder = `${dataFolder}/objects/${user}/uploads`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/match.mp4`, "video");
    this.token = this.sign(3_600);
    this.expiredToken = this.sign(-3_600);
    this.truth = new Map(); // by export: what the service answered to each report, by sequence
    this.latest = new Map(); // by export: the newest sequence that the witness has seen
    this.jobs = new Map(); // by export: the newest state that the witness has seen
    this.changedAt = new Map(); // by export: when, in virtual time
    this.steps = new Map();
    this.waiting = new Set();
  }

  sign(seconds) {
    const claims = { sub: this.user, exp: Math.floor(Date.now() / 1000) + seconds };
    const content = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(claims))}`;
    return `${content}.${base64url(hmac(this.jwtSecret, content))}`;
  }

  async call(method, path, { body, headers } = {}) {
    const response = await fetch(this.url + path, {
      method,
      body: body && JSON.stringify(body),
      headers: { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json", ...headers },
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }

  // Open a connection without faults that sees everything.
  async openWitness(clock, onChange) {
    const { body } = await this.call("POST", "/api/stream-tickets");
    this.witness = new WebSocket(`${this.url.replace("http", "ws")}/ws/exports?ticket=${body.ticket}`);
    this.witness.onmessage = ({ data }) => {
      const job = JSON.parse(data);
      this.latest.set(job.job_id, job.sequence);
      this.jobs.set(job.job_id, job);
      this.changedAt.set(job.job_id, clock.now);
      onChange();
      for (const check of [...this.waiting]) check();
    };
    await new Promise((resolve, reject) => Object.assign(this.witness, { onopen: resolve, onerror: reject }));
  }

  waitUntil(holds) {
    return new Promise((resolve) => {
      const check = () => {
        if (!holds()) return;
        this.waiting.delete(check);
        resolve();
      };
      this.waiting.add(check);
      check();
    });
  }

  // Wait until the dispatcher has stored the call of an attempt; from then on only reports change the export.
  waitUntilSpawned(id) {
    return this.waitUntil(() => this.jobs.get(id)?.call_id);
  }

  async createExport(tag) {
    const body = { type: "framing", config: EXPORT_CONFIG, project_id: tag };
    const { body: job } = await this.call("POST", "/api/exports", { body });
    await this.waitUntilSpawned(job.job_id);
    return job.job_id;
  }

  // Report the next step of the run of an export.
  async report(id, kind, data) {
    const { attempt } = this.jobs.get(id);
    const step = (this.steps.get(`${id} ${attempt}`) ?? 0) + 1;
    this.steps.set(`${id} ${attempt}`, step);
    const usual = { job_id: id, attempt, step, call_id: `fake-${id}-${attempt}`, phase: "processing", progress: 50 };
    const message = `attempt ${attempt}, step ${step}`;
    const body = JSON.stringify({ type: kind, timestamp: new Date().toISOString(), data: { ...usual, message, ...data } });
    const key = hmac(hmac(Buffer.alloc(32), this.callbackSecret), `${id}:${attempt}`, "\x01");
    const at = String(Math.floor(Date.now() / 1000));
    const signature = `v1,${hmac(key, `msg_${step}.${at}.`, body).toString("base64")}`;
    const response = await fetch(`${this.url}/api/callbacks/${id}`, {
      method: "POST",
      body,
      headers: {
        "Content-Type": "application/json",
        "webhook-id": `msg_${step}`,
        "webhook-timestamp": at,
        "webhook-signature": signature,
      },
    });
    const text = await response.text();
    if (response.status !== 200) return undefined; // cancelled in the meantime
    const { sequence } = JSON.parse(text);
    if (kind !== "export.failed") this.truth.set(`${id} ${sequence}`, message);
    await this.waitUntil(() => this.latest.get(id) >= sequence);
    return sequence;
  }

  close() {
    this.witness?.close();
  }
}
