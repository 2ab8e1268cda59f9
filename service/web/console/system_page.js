/** What operators look at: health, queue, days, settings. */

import { h, replaceChildren, svg } from "./dom.js";
import { formatDollars, formatDuration } from "./format.js";

const REFRESH_MILLISECONDS = 5000;
const CHART = { width: 600, height: 120, gap: 2, axis: 18 };
const PARTS = ["database", "storage", "runner", "loops"];

export class SystemPage {
	#timer = 0;
	#isClosed = false;

	constructor(app) {
		this.app = app;
		this.body = h("div", { class: "page" }, h("h1", {}, "System"), h("p", { class: "muted" }, "Loading …"));
		this.element = this.body;
	}

	async start() {
		try {
			const system = await this.app.client.request("GET", "/api/system");
			if (this.#isClosed) return;
			this.#show(system);
		} catch (problem) {
			if (problem.status === 401) return this.app.sayProblem(problem);
			replaceChildren(this.body, h("h1", {}, "System"), h("p", { class: "problem", role: "alert" }, problem.detail ?? problem.message));
			if (problem.status === 403) return;
		}
		if (!this.#isClosed) this.#timer = setTimeout(() => this.start(), REFRESH_MILLISECONDS);
	}

	close() {
		this.#isClosed = true;
		clearTimeout(this.#timer);
	}

	#show({ version, health, queue, days, settings }) {
		const parts = PARTS.map((part) => h("span", { class: `badge ${health[part] === "ok" ? "complete" : "error"}` }, `${part}: ${health[part]}`));
		const isOpen = this.body.querySelector("details")?.open ?? false;
		replaceChildren(
			this.body,
			h("div", { class: "page-head" }, h("h1", {}, "System"), h("span", { class: "muted" }, `Framehook ${version}`)),
			h("section", { class: "panel" }, h("h2", {}, "Health"), h("div", { class: "buttons" }, parts), health.runner_error && h("p", { class: "problem" }, health.runner_error.message), h("p", { class: "muted" }, health.runs_on === "modal" ? "Exports run on Modal." : "Exports run in processes on this machine.")),
			h(
				"div",
				{ class: "columns" },
				h("section", { class: "panel" }, h("h2", {}, "Queue"), h("dl", { class: "facts" }, h("dt", {}, "Waiting"), h("dd", {}, queue.pending), h("dt", {}, "Oldest"), h("dd", {}, formatDuration(queue.oldest_seconds)), h("dt", {}, "Running"), h("dd", {}, queue.processing))),
				h("section", { class: "panel" }, h("h2", {}, "Exports a day"), drawDays(days, (day) => day.exports, String)),
				h("section", { class: "panel" }, h("h2", {}, "GPU seconds a day"), drawDays(days, (day) => day.gpu_seconds, formatDuration)),
				h("section", { class: "panel" }, h("h2", {}, "Cost a day"), drawDays(days, (day) => day.cost_usd ?? 0, formatDollars)),
			),
			h("details", { class: "panel", open: isOpen }, h("summary", {}, "Settings in force"), h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, Object.entries(settings).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", { class: "number" }, value))))))),
		);
	}
}

/** Draw a bar for each day. */
function drawDays(days, valueOf, format) {
	const highest = Math.max(...days.map(valueOf), 0);
	if (highest === 0) return h("p", { class: "muted" }, "Nothing in these days.");
	const { width, height, gap, axis } = CHART;
	const step = width / days.length;
	const bars = days.map((day, index) => {
		const length = (valueOf(day) / highest) * (height - axis);
		return svg("rect", { class: "phase", x: index * step, y: height - axis - length, width: step - gap, height: length }, svg("title", {}, `${day.day}: ${format(valueOf(day))}`));
	});
	const total = format(days.reduce((sum, day) => sum + valueOf(day), 0));
	const label = `From ${days[0].day} to ${days.at(-1).day}: ${total} in all, ${format(highest)} on the highest day`;
	return [svg("svg", { class: "bars", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, bars, svg("text", { class: "axis", x: 0, y: height - 3 }, days[0].day), svg("text", { class: "axis", x: width, y: height - 3, "text-anchor": "end" }, days.at(-1).day)), h("p", { class: "muted" }, `${total} in ${days.length} days`)];
}
