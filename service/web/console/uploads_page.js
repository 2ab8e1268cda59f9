/** The sources of the user: what they take, what reads them, and deleting them. */

import { button, h, replaceChildren, table } from "./dom.js";
import { saveDraft, uploadPath } from "./players.js";
import { formatAgo, formatBytes, formatMoment, hrefOf, join } from "./words.js";

export default class UploadsPage {
	#uploads = [];

	constructor(app) {
		this.app = app;
		this.element = h("div.page", h("h1", "Uploads"));
	}

	async start(cursor) {
		const { uploads, next_cursor: next } = await this.app.call("GET", "/uploads", { query: { limit: 100, cursor } });
		this.#uploads.push(...uploads);
		this.#show(next);
	}

	#show(next) {
		const rows = this.#uploads.map((upload) => this.#createRow(upload, next));
		replaceChildren(
			this.element,
			h("h1", "Uploads"),
			rows.length > 0 ? table(["File", "Size", "Uploaded", "Used by", ""], rows) : h("p.muted", "There are none. ", h("a", { href: "#/new" }, "New export")),
			next && this.app.button("More", () => this.start(next)),
		);
	}

	#createRow(upload, next) {
		const { key, filename: name, size, state, used_by: readers, created_at: time, expires_at: end } = upload;
		const open = () => {
			saveDraft({ key, name });
			location.hash = "#/new";
		};
		const erase = async () => {
			if (!confirm(`Delete ${name}? What was exported of it stays.`)) return;
			await this.app.call("DELETE", uploadPath(key));
			this.#uploads = this.#uploads.filter((other) => other !== upload);
			this.#show(next);
		};
		const isStored = state === "stored";
		return [
			name,
			formatBytes(size),
			join(formatAgo(time), !isStored && "not complete", end && `deleted at ${formatMoment(end)}`),
			readers.map((id) => h("p", h("a", { href: hrefOf({ job_id: id }) }, id))),
			h("div.buttons", isStored && button("New export", open, { "aria-label": `New export of ${name}` }), this.app.button("Delete", erase, { "aria-label": `Delete ${name}` })),
		];
	}
}
