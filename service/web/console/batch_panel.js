/** A batch: what its exports add up to, and what can be done with all of them. */

import { h, setText } from "./dom.js";
import { LiveView } from "./live_view.js";
import { STATUSES, formatDollars, join } from "./words.js";

const REFRESH_MILLISECONDS = 3000;

export class BatchPanel extends LiveView {
	constructor(app, id) {
		super(app, h("section.panel", { "aria-label": "Batch" }));
		this.id = id;
		this.title = h("h2", { dir: "auto" });
		this.cancel = app.button("Cancel all", async () => {
			await this.#call("DELETE");
			await this.start();
		});
		this.state = h("p.muted", { role: "status" });
		this.bar = h("progress", { max: 100, "aria-label": "Progress of the batch" });
		const erase = app.button("Delete all for good", () => this.#erase(), { class: "danger" });
		this.element.append(h("div.page-head", this.title, h("div.buttons", this.cancel, erase)), this.state, this.bar);
	}

	async load() {
		const { name, total, counts, progress, cost_usd: cost, completed_at: end } = await this.#call("GET");
		const states = Object.entries(STATUSES).map(([status, label]) => counts[status] && `${counts[status]} ${label.toLowerCase()}`);
		setText(this.title, name ?? `Batch of ${total}`);
		setText(this.state, join(...states, cost > 0 && formatDollars(cost)));
		this.cancel.hidden = !counts.pending && !counts.processing;
		this.bar.value = progress;
		return !end && REFRESH_MILLISECONDS;
	}

	#call(method, query) {
		return this.app.call(method, `/batches/${encodeURIComponent(this.id)}`, { query });
	}

	async #erase() {
		if (!confirm("Delete the files and all data of these exports? They can't be restored.")) return;
		await this.#call("DELETE", { purge: true });
		const { store } = this.app; // the list need not wait for a stream
		for (const { job_id: id, batch_id: batch } of [...store.jobs]) if (batch === this.id) store.forget(id);
		location.hash = "#/";
	}
}
