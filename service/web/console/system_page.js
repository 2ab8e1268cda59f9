/** What operators look at: health, queue, days, settings. */

import { factList, h, replaceChildren } from "./dom.js";
import { formatDollars, formatDuration } from "./format.js";

const REFRESH_MILLISECONDS = 5000;

export class SystemPage {
	#timer = 0;
	#isClosed = false;

	constructor(app) {
		this.app = app;
		this.element = h("div.page", h("h1", "System"), h("p.muted", "Loading …"));
	}

	async start() {
		const system = await this.app.client.request("GET", "/api/system");
		if (this.#isClosed) return;
		this.#show(system);
		this.#timer = setTimeout(() => this.app.run(() => this.start()), REFRESH_MILLISECONDS);
	}

	close() {
		this.#isClosed = true;
		clearTimeout(this.#timer);
	}

	#show({ version, health, queue, days, settings }) {
		const isOnModal = health.runs_on === "modal";
		const parts = ["database", "storage", "runner", "loops"].map((part) => h(`span.badge.${health[part] === "ok" ? "complete" : "error"}`, `${part}: ${health[part]}`));
		const open = this.element.querySelector("details")?.open ?? false;
		const facts = { Waiting: queue.pending, Oldest: formatDuration(queue.oldest_seconds), Running: queue.processing };
		replaceChildren(
			this.element,
			h("div.page-head", h("h1", "System"), h("span.muted", `Framehook ${version}`)),
			h("section.panel", h("h2", "Health"), h("div.buttons", parts), health.runner_error && h("p.problem", health.runner_error.message), h("p.muted", isOnModal ? "Exports run on Modal." : "Exports run in processes on this machine.")),
			h(
				"div.columns",
				h("section.panel", h("h2", "Queue"), factList(facts)),
				drawDays("Exports a day", days, (day) => day.exports, String),
				isOnModal && drawDays("GPU time a day", days, (day) => day.gpu_seconds, formatDuration),
				isOnModal && drawDays("Cost a day", days, (day) => day.cost_usd ?? 0, formatDollars),
			),
			h("details.panel", { open }, h("summary", "Settings in force"), factList(settings)),
		);
	}
}

/** Draw a bar for each day. */
function drawDays(title, days, valueOf, format) {
	const values = days.map(valueOf);
	const highest = Math.max(...values);
	const total = format(values.reduce((sum, value) => sum + value, 0));
	const label = `From ${days[0].day} to ${days.at(-1).day}: ${total} in all, ${format(highest)} on the highest day`;
	const bars = values.map((value, index) => h("div.phase", { title: `${days[index].day}: ${format(value)}`, style: { height: `${(value / (highest || 1)) * 100}%` } }));
	return h("section.panel", h("h2", title), h("div.days", { role: "img", "aria-label": label }, bars), h("p.muted", `${total} in ${days.length} days`));
}
