/** What operators look at: health, queue, days, settings. */

import { factList, h, replaceChildren, svg } from "./dom.js";
import { LiveView } from "./live_view.js";
import { formatDollars, formatDuration } from "./words.js";

const REFRESH_MILLISECONDS = 5000;
const DAY_MILLISECONDS = 86_400_000;
const PARTS = ["database", "storage", "runner", "loops"];
/** The classes and the words for how a check is. */
const LEVELS = { ok: ["complete", "ok"], warn: ["warning", "warning"], fail: ["error", "failing"] };

export default class SystemPage extends LiveView {
	constructor(app) {
		super(app, h("div.page", h("h1", "System")));
	}

	async load() {
		this.#show(...(await Promise.all(["/system", "/usage"].map((path) => this.app.call("GET", path)))));
		return REFRESH_MILLISECONDS;
	}

	#show({ version, health, checks, queue, settings }, usage) {
		const isOnModal = health.runs_on === "modal";
		const open = this.element.querySelector("details")?.open ?? false;
		const facts = { Waiting: queue.pending, Oldest: formatDuration(queue.oldest_seconds), Running: queue.processing };
		const draw = (title, name, format) => drawDays(title, usage, name, format);
		replaceChildren(
			this.element,
			h("div.page-head", h("h1", "System"), h("span.muted", `Framehook ${version}`)),
			h("section.panel", h("h2", "Health"), createHealth(health, checks), h("p.muted", isOnModal ? "Exports run on Modal." : "Exports run on this machine.")),
			h(
				"div.columns",
				h("section.panel", h("h2", "Queue"), factList(facts)),
				draw("Exports a day", "exports", String),
				draw("Film a day", "output_seconds", formatDuration),
				isOnModal && draw("GPU time a day", "gpu_seconds", formatDuration),
				isOnModal && draw("Cost a day", "cost_usd", formatDollars),
			),
			h("details.panel", { open }, h("summary", "Settings in force"), factList(settings)),
		);
	}
}

/** Return what works, and a sentence for each check on what was found and what to do. */
function createHealth(health, checks) {
	const { runner_error: error, runner_warning: warning } = health;
	const ofRunner = [[error, "fail"], [warning, "warn"]].filter(([problem]) => problem).map(([{ message }, level]) => ({ check: "runner", level, message }));
	const isFailing = PARTS.some((part) => health[part] !== "ok");
	return [
		h("div.buttons", PARTS.map((part) => createBadge(part, health[part] === "ok" ? "ok" : "fail"))),
		isFailing && h("p.problem", { role: "alert" }, "Run ", h("code", "framehook doctor"), " where the service runs: it says what is wrong and what to do."),
		h("ul.checks", [...ofRunner, ...checks].map(({ check, level, message }) => h("li", createBadge(check, level), h("span", message.replace(/[^.]$/, "$&."))))),
	];
}

function createBadge(name, level) {
	const [state, word] = LEVELS[level];
	return h(`span.badge.${state}`, `${name}: ${word}`);
}

/** Draw a bar for each day of the period. */
function drawDays(title, { from, to, groups, total }, name, format) {
	const values = new Map(groups.map((group) => [group.key, group[name]]));
	const days = [];
	for (let time = Date.parse(from); time <= Date.parse(to); time += DAY_MILLISECONDS) days.push(new Date(time).toISOString().slice(0, 10));
	const highest = Math.max(...values.values(), 0);
	const sum = format(total[name]);
	const bars = days.map((day, x) => {
		const value = values.get(day) ?? 0;
		const height = Math.max(1, (value / (highest || 1)) * 100);
		return svg("rect", { x, y: 100 - height, width: 0.8, height }, svg("title", `${day}: ${format(value)}`));
	});
	const label = `From ${from} to ${to}: ${sum} in all, ${format(highest)} on the highest day`;
	return h("section.panel", h("h2", title), svg("svg.days", { viewBox: `0 0 ${days.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label }, bars), h("p.muted", `${sum} in ${days.length} days`));
}
