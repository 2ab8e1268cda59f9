/**
 * The browser's side of Framehook: upload a video, export it, watch the export. Works in pages and in Node 22.
 *
 * Objects that the service sends keep their names on the wire (`job_id`); options are in camel case.
 */

/** Create a client of one service, for one user. Create another when another user signs in, and close the first. */
export function createClient(options?: ClientOptions): Client;

/** Tell whether an export is complete, failed or cancelled. */
export function hasEnded(job: Pick<Export, "status">): boolean;

/**
 * A bearer token, or a function that returns one that is valid now. The function is called when a token is needed
 * first, and again when the service no longer accepts it. Without a token the page's cookie counts.
 */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

export interface ClientOptions {
  /** Where the service is, such as `https://exports.example.com`. The default is the origin of the page. */
  baseUrl?: string;
  token?: TokenSource;
  /** Whether calls carry cookies; `"include"` for a service of another origin that knows its users by a cookie. */
  credentials?: RequestCredentials;
}

export interface Client {
  /**
   * Upload a file. A large one is sent in parts, which go on after a reload if the same file is chosen again.
   * An abort deletes what has arrived.
   */
  upload(file: Blob, options?: UploadOptions): Promise<StoredFile>;

  /** Submit an export. A call that is repeated, here or by the network, makes no second export. */
  export(type: string, config: Record<string, unknown>, options?: ExportOptions): Promise<Export>;

  /**
   * Watch one export, several, or those that match a filter (all without one), over one connection for all tabs.
   *
   * Handlers see the `sequence` of an export rise, and always its end; a new place in the queue has the same `sequence`.
   * A watch of ids is over when all have ended; a watch of a filter shows an export that it has shown once until its end,
   * and is over when it is closed.
   */
  watch(target?: string | readonly string[] | WatchFilter, handlers?: WatchHandlers | ((job: Export) => void)): Watch;

  /** Load what is active, and what has ended and was not acknowledged, and watch it: for a page that was reloaded. */
  recover(handlers?: WatchHandlers | ((job: Export) => void)): Promise<Recovery>;

  /** Mark exports as seen; all that have ended without ids. Return those that were not seen before. */
  acknowledge(ids?: string | readonly string[]): Promise<Export[]>;

  /** Cancel an export. Problem `already_finished` if it has ended. */
  cancel(id: string): Promise<Export>;

  /** Start a failed or cancelled export again. */
  retry(id: string): Promise<Export>;

  get(id: string): Promise<Export>;

  /** List one page of exports, newest first. */
  list(filter?: ListFilter): Promise<ExportPage>;

  /** Get a URL of the file that needs no authorization, for `<video>`, `<a download>` or another player. */
  downloadUrl(id: string, options?: DownloadOptions): Promise<DownloadUrl>;

  /** Call a route that has no method of its own, such as `GET /api/webhooks`; return the JSON of its response. */
  request(method: string, path: string, options?: RequestOptions): Promise<any>;

  /** Close all watches and the connection. */
  close(): void;
}

export type Status = "pending" | "processing" | "complete" | "error" | "cancelled";
export type Phase = "queued" | "starting" | "downloading" | "processing" | "uploading" | "finalizing" | "done";

/** An export as the service sends it. */
export interface Export {
  job_id: string;
  /** The id that the page has chosen, if it has. */
  export_id?: string | null;
  /** The batch that it was submitted with. */
  batch_id?: string | null;
  name: string | null;
  type: string;
  status: Status;
  phase: Phase;
  /** From 0 to 100. */
  progress: number;
  message: string;
  error: { code: string; message: string } | null;
  project_id: string | number | null;
  metadata: Metadata;
  priority: "low" | "normal" | "high";
  not_before: string | null;
  /** What the export waits for while it is pending; null afterwards. Watches see it change without a change of `sequence`. */
  queue?: Queue | null;
  attempt: number;
  /** The number of the last change; rises with each. */
  sequence: number;
  input_key: string;
  output_key: string | null;
  output: Output | null;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  /** When the file is deleted; null if it is kept. Afterwards `output` is null. */
  expires_at?: string | null;
  acknowledged_at: string | null;
  eta_seconds: number | null;
  eta_high_seconds: number | null;
  gpu_seconds: number;
  /** What all attempts have cost: 0 on the service's own machine, null if a price is unknown. */
  cost_usd?: number | null;
  max_cost_usd?: number | null;
  runner: string;
  call_id: string | null;
}

export interface Queue {
  /** From 1, over the exports of all users in the order in which they are expected to start. */
  position: number;
  /** The time until it starts, null if it can't be foreseen. */
  ahead_seconds: number | null;
  /** What it waits for, in words, such as "your 4 runs"; null if it starts now. */
  limited_by: string | null;
}

/** At most 16 keys of letters, digits, `_`, `.` and `-`. */
export type Metadata = Record<string, string | number | boolean>;

export interface Output {
  size: number;
  checksum: string;
  duration: number;
  width: number;
  height: number;
  /** Needs authorization; see `downloadUrl`. */
  url: string;
}

export interface UploadOptions {
  onProgress?: (progress: { loaded: number; total: number; /** From 0 to 1. */ fraction: number }) => void;
  signal?: AbortSignal;
  /** The name of a blob that has none, such as a recording. */
  filename?: string;
  /** From which size a file is sent in parts; 16 MiB by default. */
  partsFrom?: number;
}

export interface StoredFile {
  /** For `input_key` of an export. */
  key: string;
  size: number;
}

/** What is given is sent, in snake case; other fields of `POST /api/exports` may be given, too. */
export interface ExportOptions {
  /** Makes calls with the same key one export; a random one is used without it. */
  idempotencyKey?: string;
  /** An id of your own, unique for the user. */
  exportId?: string;
  projectId?: string | number;
  /** What people call the export; at most 200 characters. */
  name?: string;
  /** Lists find exports by it, as `list({ "metadata.order": "A-1024" })`. */
  metadata?: Metadata;
  webhookUrl?: string;
  webhookEvents?: readonly string[];
  signal?: AbortSignal;
  [field: string]: unknown;
}

export interface WatchFilter {
  status?: Status | readonly Status[];
  type?: string | readonly string[];
  projectId?: string | number;
}

export interface WatchHandlers {
  /** Each state of each export. */
  onUpdate?: (job: Export) => void;
  /** The last state of an export, after `onUpdate`. */
  onEnd?: (job: Export) => void;
  /** An export can't be watched (`exportId` says which), or nothing can be any longer: then the watch is over. */
  onProblem?: (problem: FramehookProblem) => void;
  onConnection?: (connection: Connection) => void;
  /** Closes the watch. */
  signal?: AbortSignal;
}

/** `transport` is "tab" where another tab has the connection. `waiting` is between two connections. */
export type Connection =
  | { state: "open"; transport: "websocket" | "events" | "polling" | "tab" }
  | { state: "waiting"; problem: FramehookProblem };

/**
 * A watch is also an async iterator of states: a loop that is slower than the exports gets the newest state of each,
 * and every end. Leaving the loop closes the watch.
 */
export interface Watch extends AsyncIterable<Export> {
  /** Settles when the watch is over; rejects with its first problem. */
  readonly done: Promise<void>;
  close(): void;
}

export interface Recovery {
  active: Export[];
  unacknowledged: Export[];
  watch: Watch;
}

export interface ListFilter extends WatchFilter {
  /** Times in RFC 3339; `createdAfter` belongs to the time that is shown, `createdBefore` does not. */
  createdAfter?: string;
  createdBefore?: string;
  /** The value of a key. For a key with capital letters call `request` with the query in its path. */
  [key: `metadata.${Lowercase<string>}`]: string | number | boolean;
  /** At most 200. */
  limit?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

export interface ExportPage {
  exports: Export[];
  next_cursor: string | null;
}

export interface DownloadOptions {
  /** Whether the URL plays or saves the file. */
  disposition?: "inline" | "attachment";
  /** In seconds. */
  expiresIn?: number;
}

export interface RequestOptions {
  /** Sent as JSON. */
  body?: unknown;
  query?: Record<string, unknown>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface DownloadUrl {
  url: string;
  expires_at: string;
}

/** Why a call failed, as a problem of the service (RFC 9457), or because the service could not be reached. */
export class FramehookProblem extends Error {
  /** The status of the response; 0 without one. */
  readonly status: number;
  /** Never changes: branch on it. `network_error` and `token_unavailable` come without a response. */
  readonly code: string;
  /** A sentence for people. */
  readonly detail: string;
  /** What is wrong with the fields of a request. */
  readonly errors: { loc: (string | number)[]; msg: string }[];
  /** After how many seconds to try again, if the service says so. */
  readonly retryAfter: number;
  /** The export that could not be watched. */
  readonly exportId?: string;
  /** Whether there was no response. */
  readonly isNetworkError: boolean;
  /** Whether the same call may succeed later. */
  readonly isTemporary: boolean;
}
