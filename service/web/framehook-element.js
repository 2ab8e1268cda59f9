// <framehook-export export-id="…">: progress, state, download and cancel of one export, for pages without a framework.
// framehook-element.d.ts describes attributes, properties, events, parts and texts.

import { createClient, hasEnded } from "./framehook.js";

const TEXTS = {
  pending: "Waiting to start",
  processing: "Exporting",
  complete: "The export is complete",
  error: "The export failed",
  cancelled: "The export was cancelled",
  connecting: "Loading the export",
  waiting: "The connection is lost; trying again",
  download: "Download",
  cancel: "Cancel",
  retry: "Try again",
};
const TEXT_ATTRIBUTES = Object.keys(TEXTS).map((name) => `text-${name}`);
const EXPIRY_MARGIN_MS = 10_000;
const STYLE = `
:host { display: block; font: inherit; color: inherit; }
:host([hidden]), [hidden] { display: none !important; }
[part="container"] { display: flex; flex-wrap: wrap; align-items: center; gap: var(--framehook-gap, 0.5rem); }
[part="status"] { flex: 1 1 100%; }
[part="progress"] { flex: 1 1 8rem; accent-color: var(--framehook-accent, auto); }
[part="problem"] { flex: 1 1 100%; color: var(--framehook-problem, #b00020); }
button { font: inherit; }
a { color: var(--framehook-accent, revert); }
`;

const clients = []; // made by elements without a client of their own, one for each service and token

function findClient(baseUrl, token) {
  let known = clients.find((entry) => entry.baseUrl === baseUrl && entry.token === token);
  if (!known) clients.push((known = { baseUrl, token, client: createClient({ baseUrl, token }) }));
  return known.client;
}

function createPart(name, tag, type) {
  const part = document.createElement(tag);
  part.setAttribute("part", name);
  if (type) part.type = type;
  return part;
}

// On a server there are no elements: the module can be imported, and defines nothing.
const Base = globalThis.HTMLElement ?? class {};

export class FramehookExportElement extends Base {
  static observedAttributes = ["export-id", "base-url", "token", ...TEXT_ATTRIBUTES];

  #client;
  #token;
  #job;
  #problem;
  #connection;
  #watch;
  #link = {};
  #parts = {};

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet(); // unlike <style>, allowed by every content security policy
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    this.#parts = {
      status: createPart("status", "span"),
      progress: createPart("progress", "progress"),
      download: createPart("download", "a"),
      cancel: createPart("cancel", "button", "button"),
      retry: createPart("retry", "button", "button"),
      problem: createPart("problem", "span"),
    };
    const { status, progress, download, cancel, retry, problem } = this.#parts;
    status.setAttribute("role", "status"); // read out when the text changes, which progress does not do
    status.id = "status";
    progress.setAttribute("aria-labelledby", "status");
    progress.max = 100;
    problem.setAttribute("role", "alert");
    download.addEventListener("click", (event) => this.#onDownload(event));
    cancel.addEventListener("click", () => this.cancel());
    retry.addEventListener("click", () => this.retry());
    const container = createPart("container", "div");
    container.append(status, progress, download, cancel, retry, problem);
    root.append(container);
  }

  connectedCallback() {
    for (const name of ["client", "token", "exportId", "baseUrl"]) this.#adoptProperty(name);
    this.#restart();
  }

  disconnectedCallback() {
    this.#restart();
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name.startsWith("text-")) this.#render();
    else this.#restart();
  }

  get exportId() {
    return this.getAttribute("export-id");
  }

  set exportId(value) {
    this.#reflect("export-id", value);
  }

  get baseUrl() {
    return this.getAttribute("base-url");
  }

  set baseUrl(value) {
    this.#reflect("base-url", value);
  }

  get token() {
    return this.#token ?? this.getAttribute("token") ?? undefined;
  }

  set token(value) {
    this.#token = value;
    this.#restart();
  }

  get client() {
    return this.#client ?? findClient(this.baseUrl ?? undefined, this.token);
  }

  set client(value) {
    this.#client = value;
    this.#restart();
  }

  get job() {
    return this.#job;
  }

  async cancel() {
    await this.#change((client, id) => client.cancel(id));
  }

  async retry() {
    if (await this.#change((client, id) => client.retry(id))) this.#open();
  }

  // Set a property again that was set before the element was defined.
  #adoptProperty(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  #reflect(name, value) {
    if (value == null) this.removeAttribute(name);
    else this.setAttribute(name, value);
  }

  // Watch anew once all attributes are set; a moved element is removed and inserted at once.
  #restart() {
    this.restarting ??= Promise.resolve().then(() => {
      this.restarting = undefined;
      const target = this.isConnected && this.exportId ? this.exportId : undefined;
      const client = target === undefined ? undefined : this.client;
      if (this.#watch && this.#watch.target === target && this.#watch.client === client) return;
      this.#close();
      this.#job = this.#problem = this.#connection = undefined;
      this.#link = {};
      if (target !== undefined) this.#open();
      this.#render();
    });
  }

  #close() {
    this.#watch?.abort();
    this.#watch = undefined;
  }

  #open() {
    this.#close();
    const watch = new AbortController();
    const { exportId: target, client } = this;
    this.#watch = Object.assign(watch, { target, client });
    client.watch(target, {
      signal: watch.signal,
      onUpdate: (job) => this.#apply(job),
      onProblem: (problem) => this.#fail(problem),
      onConnection: (connection) => {
        this.#connection = connection;
        this.#render();
      },
    });
  }

  #apply(job) {
    const newest = this.#job?.sequence;
    if (job.sequence < newest || (job.sequence === newest && hasEnded(job))) return;
    this.#job = job;
    this.#problem = undefined;
    this.#render();
    this.#tell("framehook-update", job);
    if (!hasEnded(job)) return;
    this.#tell("framehook-end", job);
    if (job.status === "complete") this.#renewLink();
  }

  #fail(problem) {
    this.#problem = problem;
    this.#render();
    this.#tell("framehook-problem", problem);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // Make a call for the export; return whether it went well and still matters.
  async #change(call) {
    const watch = this.#watch;
    if (!watch) return false;
    try {
      const job = await call(watch.client, watch.target);
      if (this.#watch !== watch) return false;
      this.#apply(job);
      return true;
    } catch (problem) {
      // What has ended meanwhile can't be cancelled, and the watch shows its end.
      if (this.#watch === watch && problem.status !== 409) this.#fail(problem);
      return false;
    }
  }

  async #renewLink() {
    const watch = this.#watch;
    const job = this.#job;
    try {
      const { url, expires_at: expiry } = await watch.client.downloadUrl(job.job_id, { disposition: "attachment" });
      if (this.#watch !== watch || this.#job !== job) return;
      this.#link = { url, expiresAt: Date.parse(expiry) };
      this.#render();
    } catch (problem) {
      if (this.#watch === watch) this.#fail(problem);
    }
  }

  async #onDownload(event) {
    if (Date.now() < this.#link.expiresAt - EXPIRY_MARGIN_MS) return;
    event.preventDefault();
    this.#link = {};
    await this.#renewLink();
    if (this.#link.url) this.#parts.download.click();
  }

  #text(name) {
    return this.getAttribute(`text-${name}`) ?? TEXTS[name];
  }

  #describe() {
    const job = this.#job;
    if (!job) return this.#problem ? "" : this.#text("connecting");
    if (!hasEnded(job) && this.#connection?.state === "waiting") return this.#text("waiting");
    return this.#text(job.status);
  }

  #render() {
    const { status, progress, download, cancel, retry, problem } = this.#parts;
    const job = this.#job;
    const isActive = job !== undefined && !hasEnded(job);
    setText(status, this.#describe());
    setText(download, this.#text("download"));
    setText(cancel, this.#text("cancel"));
    setText(retry, this.#text("retry"));
    setText(problem, this.#problem?.detail ?? job?.error?.message ?? "");
    if (isActive && job.status === "processing") progress.value = job.progress;
    else progress.removeAttribute("value");
    progress.hidden = !isActive;
    cancel.hidden = !isActive;
    retry.hidden = job?.status !== "error" && job?.status !== "cancelled";
    download.hidden = !this.#link.url;
    if (this.#link.url) download.href = this.#link.url;
    problem.hidden = !problem.textContent;
    if (job) this.setAttribute("status", job.status);
    else this.removeAttribute("status");
  }
}

function setText(part, text) {
  if (part.textContent !== text) part.textContent = text;
}

if (globalThis.customElements && !customElements.get("framehook-export")) {
  customElements.define("framehook-export", FramehookExportElement);
}
