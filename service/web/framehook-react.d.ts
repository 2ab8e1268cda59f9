/**
 * Hooks and a headless button for React 18 and 19, on top of framehook.js. Safe in strict mode and on a server, where
 * they render what is known before anything was loaded.
 */

import type { FunctionComponent, ReactNode } from "react";
import type {
  Client,
  Connection,
  DownloadOptions,
  Export,
  ExportOptions,
  FramehookProblem,
  ListFilter,
  StoredFile,
  UploadOptions,
} from "./framehook.js";

/** Gives the client to everything inside. */
export declare const FramehookProvider: FunctionComponent<{ client: Client; children?: ReactNode }>;

/** Return the client of the provider; throws outside of one. */
export function useClient(): Client;

/** Watch an export while the component is shown; nothing is watched without an id. */
export function useExport(id: string | null | undefined): ExportState & {
  /** Cancel the export; rejects with the problem if that fails. */
  cancel: () => Promise<Export>;
  /** Start a failed or cancelled export again; each hook that shows it goes on. */
  retry: () => Promise<Export>;
};

export interface ExportState {
  /** The newest state; undefined until it is loaded. */
  job: Export | undefined;
  /** Why the export can't be watched. */
  problem: FramehookProblem | undefined;
  connection: Connection | undefined;
}

/**
 * List the exports that match a filter now, newest first, and keep the list true: one page of the list (`limit`, 50
 * without it), and every export that has changed since.
 */
export function useExports(filter?: Omit<ListFilter, "cursor">): {
  exports: readonly Export[];
  isLoading: boolean;
  problem: FramehookProblem | undefined;
  connection: Connection | undefined;
};

/** Upload one file at a time. An upload goes on when the component is removed; `abort` or a signal ends it. */
export function useUpload(): {
  step: "idle" | "uploading" | "complete" | "error";
  /** From 0 to 1. */
  fraction: number;
  stored: StoredFile | undefined;
  problem: FramehookProblem | undefined;
  /** Resolves to undefined if the upload fails, which `problem` explains, or is aborted. */
  upload: (file: Blob, options?: UploadOptions) => Promise<StoredFile | undefined>;
  abort: () => void;
};

/**
 * Get a URL of the output once the export is complete, for `<video src>` or `<a href>`. It expires: `renew` gets
 * another, such as in `onError` of the video.
 */
export function useDownloadUrl(
  job: Export | undefined,
  options?: DownloadOptions,
): { url: string | undefined; problem: FramehookProblem | undefined; renew: () => void };

/**
 * A button without a look: it stores the file, submits the export, follows it, and gives `children` what to show. A
 * second press while it works does nothing, and one after a problem sends neither the file nor the export twice.
 */
export declare const ExportButton: FunctionComponent<ExportButtonProps>;

export interface ExportButtonProps {
  type: string;
  config: Record<string, unknown>;
  /** Is uploaded first, and its key is put into `config` as `input_key`. */
  file?: Blob;
  options?: ExportOptions;
  /** The export was submitted. */
  onExport?: (job: Export) => void;
  /** The export is complete, failed or cancelled. */
  onEnd?: (job: Export) => void;
  children: (state: ExportButtonState) => ReactNode;
}

export interface ExportButtonState {
  /** `error` without a `job` is a problem before the export, which `problem` explains. */
  step: "idle" | "uploading" | "submitting" | "exporting" | "complete" | "error" | "cancelled";
  /** From 0 to 100: of the upload, then of the export. */
  progress: number;
  job: Export | undefined;
  problem: FramehookProblem | undefined;
  isBusy: boolean;
  start: () => void;
  /** Abort the upload, or cancel the export. */
  cancel: () => void;
  /** Start the failed or cancelled export again. */
  retry: () => void;
  /** For a `<button>`: `disabled` while it works, `aria-busy`, `onClick`. */
  buttonProps: { type: "button"; disabled: boolean; "aria-busy": boolean; onClick: () => void };
}
