/**
 * `<framehook-export export-id="…" base-url="…">` shows the progress and the state of one export, and offers to
 * cancel it, to try again, and to download the file. Importing the module defines the element.
 *
 * Attributes: `export-id`; `base-url` (the origin of the page without it); `token` (better set as a property, which
 * may be a function); `text-…` for each text: `pending`, `processing`, `complete`, `error`, `cancelled`, `connecting`,
 * `waiting`, `download`, `cancel`, `retry`. The element sets `status`, the status of the export, for CSS.
 *
 * Events, which bubble: `framehook-update` and `framehook-end` (`detail` is the export), `framehook-problem` (`detail`
 * is the problem).
 *
 * Parts for `::part()`: `container`, `status`, `progress`, `download`, `cancel`, `retry`, `problem`. CSS variables:
 * `--framehook-accent`, `--framehook-problem`, `--framehook-gap`.
 */

import type { Client, Export, FramehookProblem, TokenSource } from "./framehook.js";

export class FramehookExportElement extends HTMLElement {
  exportId: string | null;
  baseUrl: string | null;
  token: TokenSource | undefined;
  /** The client to use; without it, elements with the same service and token share one. */
  get client(): Client;
  set client(client: Client | undefined);
  /** The newest state. */
  readonly job: Export | undefined;
  cancel(): Promise<void>;
  retry(): Promise<void>;
}

declare global {
  interface HTMLElementTagNameMap {
    "framehook-export": FramehookExportElement;
  }

  interface HTMLElementEventMap {
    "framehook-update": CustomEvent<Export>;
    "framehook-end": CustomEvent<Export>;
    "framehook-problem": CustomEvent<FramehookProblem>;
  }
}
