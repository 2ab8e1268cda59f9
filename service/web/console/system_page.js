/** What operators look at: health, queue, days, settings; others see what they have used. */

import { factList, h, replaceChildren, svg, table } from "./dom.js";
import { selectField } from "./editor/fields.js";
import { LiveView } from "./live_view.js";
import { formatDollars, formatDuration } from "./words.js";

const REFRESH_MILLISECONDS = 5000;
const DAY_MILLISECONDS = 86_400_000;
const GROUPS = [["type", "Type"], ["project", "Project"], ["user", "User"]];
const PARTS = ["database", "storage", "runner", "loops"];
/** The classes and the words for how a check is. */
const LEVELS = { ok: ["complete", "ok"], warn: ["warning", "warning"], fail: ["error", "failing"] };

export default class SystemPage extends LiveView {
	constructor(app) {
		super(app, h("div.page"));
		this.group = selectField("Usage by", GROUPS, () => app.run(() => this.start()));
		this.parts = [h("div.page", h("h1", "System")), h("div.columns"), h("div"), h("div.page")];
		const [head, days, groups, settings] = this.parts;
		this.element.append(head, days, h("section.panel", h("div.filters", this.group), groups), settings);
	}

	async load() {
		const read = (path, query) => this.app.call("GET", path, { query });
		const system = read("/system").catch((problem) => {
			if (problem.status !== 403) throw problem;
			return null;
		});
		this.#show(...(await Promise.all([system, read("/usage"), read("/usage", { group_by: this.group.control.value })])));
		return REFRESH_MILLISECONDS;
	}

	#show(system, usage, { groups }) {
		const [head, days, list, settings] = this.parts;
		const hasCosts = system?.health.runs_on === "modal" || usage.total.cost_usd > 0; // exports on this machine count its time, too
		const draw = (title, name, format) => drawDays(title, usage, name, format);
		replaceChildren(
			days,
			draw("Exports a day", "exports", String),
			draw("Film a day", "output_seconds", formatDuration),
			hasCosts && draw("GPU time a day", "gpu_seconds", formatDuration),
			hasCosts && draw("Cost a day", "cost_usd", formatDollars),
		);
		replaceChildren(list, createTable(groups, hasCosts));
		replaceChildren(head, system ? createHead(system) : h("h1", "Usage"));
		const open = settings.querySelector("details")?.open ?? false;
		replaceChildren(settings, system && h("details.panel", { open }, h("summary", "Settings in force"), factList(system.settings)));
	}
}

function createHead({ version, health, checks, queue }) {
	const facts = { Waiting: queue.pending, Oldest: formatDuration(queue.oldest_seconds), Running: queue.processing };
	return [
		h("div.page-head", h("h1", "System"), h("span.muted", `Framehook ${version}`)),
		h("section.panel", h("h2", "Health"), createHealth(health, checks), h("p.muted", health.runs_on === "modal" ? "Exports run on Modal." : "Exports run on this machine.")),
		h("section.panel", h("h2", "Queue"), factList(facts)),
	];
}

function createTable(groups, hasCosts) {
	const costs = (...cells) => (hasCosts ? cells : []);
	const rows = groups.map((group) => [group.key ?? "none", group.exports, formatDuration(group.output_seconds), ...costs(formatDuration(group.gpu_seconds), formatDollars(group.cost_usd))]);
	return table(["Group", "Exports", "Film", ...costs("GPU time", "Cost")], rows);
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
