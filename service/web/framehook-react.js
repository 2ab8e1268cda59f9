// Hooks and a headless button for React. framehook-react.d.ts describes what is exported.

import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { hasEnded } from "./framehook.js";

const ClientContext = createContext(undefined);

export function FramehookProvider({ client, children }) {
  return createElement(ClientContext.Provider, { value: client }, children);
}

export function useClient() {
  const client = useContext(ClientContext);
  if (!client) throw new Error("There is no Framehook client: render inside <FramehookProvider client={client}>.");
  return client;
}

export function useExport(id) {
  const client = useClient();
  const store = useMemo(() => new ExportStore(client, id || undefined), [client, id]);
  const state = useStore(store);
  const cancel = useCallback(async () => store.apply(await client.cancel(id)), [client, id, store]);
  const retry = useCallback(async () => restartWatches(client, await client.retry(id)), [client, id]);
  return { ...state, cancel, retry };
}

export function useExports(filter = {}) {
  const client = useClient();
  const key = JSON.stringify(filter);
  return useStore(useMemo(() => new ListStore(client, JSON.parse(key)), [client, key]));
}

export function useUpload() {
  const client = useClient();
  const store = useMemo(() => new UploadStore(), [client]);
  const state = useStore(store);
  const upload = useCallback((file, options) => store.run(client, file, options), [client, store]);
  return { ...state, upload, abort: store.abort };
}

export function useDownloadUrl(job, { disposition, expiresIn } = {}) {
  const client = useClient();
  const [round, setRound] = useState(0);
  const [result, setResult] = useState({});
  const id = job?.status === "complete" ? job.job_id : undefined;
  const target = JSON.stringify([id, job?.attempt, disposition, expiresIn]);
  useEffect(() => {
    if (!id) return undefined;
    let isCurrent = true;
    const settle = (values) => isCurrent && setResult({ target, ...values });
    client.downloadUrl(id, { disposition, expiresIn }).then(
      ({ url }) => settle({ url }),
      (problem) => settle({ problem }),
    );
    return () => {
      isCurrent = false;
    };
  }, [client, target, round]);
  const renew = useCallback(() => setRound((count) => count + 1), []);
  const { url, problem } = result.target === target ? result : {};
  return { url, problem, renew };
}

export function ExportButton({ type, config, file, options, onExport, onEnd, children }) {
  const client = useClient();
  const store = useMemo(() => new ButtonStore(), [client]); // another user begins anew
  const state = useStore(store);
  const watched = useExport(state.id);
  const { job } = watched;
  const hasEndedNow = job !== undefined && hasEnded(job);
  const isBusy = store.isStarting || (state.step === "exporting" && !hasEndedNow && !watched.problem);
  const reported = useRef(undefined);
  useEffect(() => {
    if (!hasEndedNow || reported.current === job) return;
    reported.current = job;
    onEnd?.(job);
  });
  const start = () => (isBusy ? undefined : store.run(client, { type, config, file, options, onExport }));
  const watchedStep = hasEndedNow ? job.status : watched.problem ? "error" : "exporting";
  return children({
    step: state.step === "exporting" ? watchedStep : state.step,
    progress: state.step === "uploading" ? 100 * state.fraction : (job?.progress ?? 0),
    job,
    problem: state.problem ?? watched.problem,
    isBusy,
    start,
    cancel: () => (store.isStarting ? store.abort() : store.follow(watched.cancel())),
    retry: () => store.follow(watched.retry()),
    buttonProps: { type: "button", disabled: isBusy, "aria-busy": isBusy, onClick: start },
  });
}

const useStore = (store) => useSyncExternalStore(store.subscribe, store.getState, store.getServerState);

// State outside of React, so that it survives a component that is rendered twice or hidden.
class Store {
  #listeners = new Set();
  #closing;

  constructor(state) {
    this.state = this.initialState = state;
  }

  getState = () => this.state;
  getServerState = () => this.initialState;

  subscribe = (listener) => {
    this.#listeners.add(listener);
    clearTimeout(this.#closing);
    if (!this.isOpen) {
      this.isOpen = true;
      this.open();
    }
    return () => {
      this.#listeners.delete(listener);
      // In strict mode, and where a list is rendered anew, the next listener comes at once.
      if (!this.#listeners.size) this.#closing = setTimeout(() => this.#close());
    };
  };

  #close() {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.close();
  }

  open() {}
  close() {}

  set(values) {
    this.state = { ...this.state, ...values };
    for (const listener of [...this.#listeners]) listener();
  }
}

const openStores = new WeakMap(); // the stores of single exports that are open, by client

class ExportStore extends Store {
  constructor(client, id) {
    super({ job: undefined, problem: undefined, connection: undefined });
    Object.assign(this, { client, id });
  }

  open() {
    if (this.id === undefined) return;
    if (!openStores.has(this.client)) openStores.set(this.client, new Set());
    openStores.get(this.client).add(this);
    this.watch = this.client.watch(this.id, {
      onUpdate: (job) => this.apply(job),
      onProblem: (problem) => this.set({ problem }),
      onConnection: (connection) => this.set({ connection }),
    });
  }

  close() {
    openStores.get(this.client)?.delete(this);
    this.watch?.close();
  }

  apply(job) {
    if (isNews(job, this.state.job)) this.set({ job, problem: undefined });
    return job;
  }

  // Watch an export whose end was seen, and that goes on.
  restart(job) {
    this.close();
    this.apply(job);
    if (this.isOpen) this.open();
  }
}

// A new place in the queue has the same `sequence`.
function isNews(job, held) {
  return !(job.sequence <= held?.sequence) || (job.sequence === held.sequence && !hasEnded(job));
}

function restartWatches(client, job) {
  for (const store of [...(openStores.get(client) ?? [])]) {
    if (store.id === job.job_id || store.id === job.export_id) store.restart(job);
  }
  return job;
}

// Exports that match a filter, newest first: a page of the list, and what changes since.
class ListStore extends Store {
  #jobs = new Map();

  constructor(client, { limit, ...filter }) {
    super({ exports: [], isLoading: true, problem: undefined, connection: undefined });
    Object.assign(this, { client, limit, filter });
  }

  open() {
    this.watch = this.client.watch(this.filter, {
      onUpdate: (job) => this.merge([job]),
      onProblem: (problem) => this.set({ problem, isLoading: false }),
      onConnection: (connection) => {
        this.set({ connection });
        if (connection.state === "open" && this.state.problem) this.load();
      },
    });
    this.load();
  }

  close() {
    this.watch.close();
  }

  async load() {
    try {
      const { exports } = await this.client.list({ ...this.filter, limit: this.limit });
      this.set({ isLoading: false, problem: undefined });
      this.merge(exports);
    } catch (problem) {
      this.set({ isLoading: false, problem });
    }
  }

  merge(jobs) {
    for (const job of jobs) {
      if (isNews(job, this.#jobs.get(job.job_id))) this.#jobs.set(job.job_id, job);
    }
    const matching = [...this.#jobs.values()].filter((job) => this.isMatch(job));
    matching.sort((first, second) => (first.created_at < second.created_at ? 1 : -1));
    this.set({ exports: matching });
  }

  isMatch(job) {
    const { status, type, projectId } = this.filter;
    const accepts = (wanted, value) => wanted === undefined || [wanted].flat().map(String).includes(String(value));
    return accepts(status, job.status) && accepts(type, job.type) && accepts(projectId, job.project_id);
  }
}

class UploadStore extends Store {
  constructor() {
    super({ step: "idle", fraction: 0, stored: undefined, problem: undefined });
  }

  async run(client, file, options = {}) {
    const controller = (this.controller = new AbortController());
    const abort = () => controller.abort();
    const change = (values) => this.controller === controller && this.set({ ...this.initialState, ...values });
    options.signal?.addEventListener("abort", abort);
    if (options.signal?.aborted) abort();
    change({ step: "uploading" });
    try {
      const stored = await client.upload(file, {
        ...options,
        signal: controller.signal,
        onProgress: (progress) => {
          change({ step: "uploading", fraction: progress.fraction });
          options.onProgress?.(progress);
        },
      });
      change({ step: "complete", fraction: 1, stored });
      return stored;
    } catch (problem) {
      change(controller.signal.aborted ? {} : { step: "error", problem });
      return undefined;
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
  }

  abort = () => this.controller?.abort();
}

// One press after the other: store the file, submit the export.
class ButtonStore extends Store {
  #uploaded = {}; // a file that is stored is not sent again
  #request = {}; // one that may have arrived is repeated with the same key

  constructor() {
    super({ step: "idle", fraction: 0, id: undefined, problem: undefined });
  }

  get isStarting() {
    return this.state.step === "uploading" || this.state.step === "submitting";
  }

  async run(client, { type, config, file, options, onExport }) {
    if (this.isStarting) return;
    const controller = (this.controller = new AbortController());
    const { signal } = controller;
    this.set({ ...this.initialState, step: file ? "uploading" : "submitting" });
    try {
      const input = file ? { ...config, input_key: await this.store(client, file, signal) } : config;
      signal.throwIfAborted();
      this.set({ step: "submitting" });
      const job = await client.export(type, input, { idempotencyKey: this.keyOf([type, input, options]), ...options });
      this.#request = {};
      if (signal.aborted) await client.cancel(job.job_id);
      this.set({ step: "exporting", id: job.job_id });
      onExport?.(job);
    } catch (problem) {
      this.set(signal.aborted ? this.initialState : { step: "error", problem });
    }
  }

  async store(client, file, signal) {
    if (this.#uploaded.file !== file) {
      const onProgress = ({ fraction }) => this.set({ fraction });
      const { key } = await client.upload(file, { signal, onProgress });
      this.#uploaded = { file, key };
    }
    return this.#uploaded.key;
  }

  keyOf(request) {
    const body = JSON.stringify(request);
    if (this.#request.body !== body) this.#request = { body, key: randomKey() };
    return this.#request.key;
  }

  abort() {
    this.controller?.abort();
  }

  // Show why a change of the export failed, unless it had ended before.
  async follow(change) {
    try {
      await change;
      this.set({ problem: undefined });
    } catch (problem) {
      if (problem.status !== 409) this.set({ problem });
    }
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
