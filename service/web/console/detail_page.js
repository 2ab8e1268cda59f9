/** One export: players, state, how long each phase took, its log, and what can be done with it. */

import { h, replaceChildren, setText, svg, table } from "./dom.js";
import { formatConfig } from "./editor/config_text.js";
import { formatBytes, formatDollars, formatDuration, formatMoment } from "./format.js";
import { loadPlayers } from "./players.js";
import { canRetry, describePhase, describeState, describeStatus, describeType, isActive, nameOf } from "./states.js";

const CHART_WIDTH = 640;
const ROW_HEIGHT = 24;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 80;

export class DetailPage {
	#shown = null;
	#playersFor = "";

	constructor(app, id) {
		this.app = app;
		this.id = id;
		this.badge = h("span", { class: "badge" });
		this.heading = h("h1", { dir: "auto" });
		this.actions = h("div", { class: "buttons" });
		this.state = h("p", { dir: "auto", role: "status" });
		this.bar = h("progress", { max: 100, "aria-label": "Progress" });
		this.players = h("div", { class: "hero" });
		this.facts = h("dl", { class: "facts" });
		this.chart = h("div", { class: "scroll" });
		this.log = h("div");
		this.config = h("pre", { tabindex: 0, "aria-label": "Config" });
		this.element = h(
			"div",
			{ class: "page" },
			h("div", { class: "page-head" }, h("div", {}, h("a", { href: "#/" }, "Exports"), this.heading), this.badge, this.actions),
			this.state,
			this.bar,
			this.players,
			h(
				"div",
				{ class: "columns" },
				h("section", { class: "panel" }, h("h2", {}, "Where the time went"), this.chart, h("h2", {}, "Log"), this.log),
				h("section", { class: "panel" }, h("h2", {}, "Facts"), this.facts, h("h2", {}, "Settings"), this.config),
			),
		);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	async start() {
		try {
			const [job, request] = await Promise.all([this.app.client.get(this.id), this.app.client.request("GET", `/api/exports/${encodeURIComponent(this.id)}/request`)]);
			this.id = job.job_id;
			this.request = request;
			setText(this.config, formatConfig(request.config));
			this.app.store.merge([job]);
		} catch (problem) {
			if (problem.status === 401) this.app.sayProblem(problem);
			else replaceChildren(this.element, h("h1", {}, problem.status === 404 ? "There is no such export" : "The export can't be shown"), h("p", {}, problem.detail ?? problem.message), h("a", { href: "#/" }, "All exports"));
		}
		this.#show();
	}

	close() {
		this.unsubscribe();
	}

	#show() {
		const job = this.app.store.get(this.id);
		if (!job || job === this.#shown) return;
		const previous = this.#shown;
		this.#shown = job;
		this.badge.className = `badge ${job.status}`;
		setText(this.badge, describeStatus(job.status));
		setText(this.heading, nameOf(job));
		setText(this.state, job.error ? `${describeState(job)} (${job.error.code})` : job.message || describeState(job));
		this.state.className = job.error ? "problem" : "muted";
		this.bar.hidden = !isActive(job);
		this.bar.value = job.progress;
		this.#showFacts(job);
		if (previous?.status !== job.status || !this.actions.children.length) this.#showActions(job);
		if (previous?.phase !== job.phase || previous?.attempt !== job.attempt) this.#loadTimeline();
		const playersFor = `${job.status}-${job.attempt}`;
		if (!isActive(job) && this.#playersFor !== playersFor) {
			this.#playersFor = playersFor;
			loadPlayers(this.app.client, job, this.players);
		}
	}

	#showFacts(job) {
		const { output } = job;
		const facts = [
			["Export", job.job_id],
			job.export_id && ["Chosen id", job.export_id],
			["Type", describeType(job.type)],
			job.project_id !== null && ["Project", job.project_id],
			["Phase", describePhase(job.phase)],
			isActive(job) && job.eta_seconds !== null && ["Time left", formatDuration(job.eta_seconds)],
			["Attempt", job.attempt],
			job.runner && ["Runs on", job.runner],
			["Submitted", formatMoment(job.created_at)],
			job.completed_at && ["Ended", formatMoment(job.completed_at)],
			["GPU time", formatDuration(job.gpu_seconds)],
			output && ["Size", `${output.width}×${output.height}, ${formatBytes(output.size)}`],
			output && ["Length", formatDuration(output.duration)],
			output && ["Checksum", output.checksum],
			["Source", job.input_key],
			job.output_key && ["Stored as", job.output_key],
		];
		replaceChildren(this.facts, facts.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
	}

	#showActions(job) {
		const { client } = this.app;
		const act = (call) => async (event) => {
			event.currentTarget.disabled = true;
			await call().then((changed) => changed && this.app.store.merge([changed]), (problem) => this.app.sayProblem(problem));
			if (this.#shown) this.#showActions(this.#shown);
		};
		replaceChildren(
			this.actions,
			job.status === "complete" && h("button", { type: "button", class: "primary", onclick: act(() => this.#download(job)) }, "Download"),
			isActive(job) && h("button", { type: "button", class: "danger", onclick: act(() => client.cancel(job.job_id)) }, "Cancel"),
			canRetry(job) && h("button", { type: "button", class: "primary", onclick: act(() => client.retry(job.job_id)) }, "Try again"),
			h("button", { type: "button", onclick: act(() => this.#copySettings(job)) }, "Use these settings again"),
		);
	}

	async #download(job) {
		const { url } = await this.app.client.downloadUrl(job.job_id, { disposition: "attachment" });
		const link = h("a", { href: url, download: "" });
		document.body.append(link);
		link.click();
		link.remove();
	}

	async #copySettings(job) {
		const { saveDraft } = await import("./new_page.js");
		const { input_key: key, output_key: _key, ...config } = this.request.config;
		saveDraft({ key, name: nameOf(job), type: this.request.type, config });
		location.hash = "#/new";
	}

	async #loadTimeline() {
		let timeline;
		try {
			timeline = await this.app.client.request("GET", `/api/exports/${encodeURIComponent(this.id)}/events`, { headers: { Accept: "application/json" } });
		} catch {
			return; // the next change loads it again
		}
		replaceChildren(this.chart, drawPhases(timeline.phases), timeline.estimated_cost_usd !== null && h("p", { class: "muted" }, `About ${formatDollars(timeline.estimated_cost_usd)} of GPU time`));
		const rows = timeline.events.map((event) => [[{ class: "number" }, formatMoment(event.at)], event.attempt, `${describeStatus(event.status)}: ${describePhase(event.phase)}`, [{ dir: "auto" }, event.message]]);
		replaceChildren(this.log, table(["Time", "Attempt", "What", "Message"], rows));
	}
}

/** Draw the phases as bars on one time axis. */
function drawPhases(phases) {
	const shown = phases.filter((phase) => phase.phase !== "done");
	if (shown.length === 0) return h("p", { class: "muted" }, "Nothing has run yet.");
	const start = new Date(shown[0].started_at).getTime() / 1000;
	const starts = shown.map((phase) => new Date(phase.started_at).getTime() / 1000 - start);
	const total = Math.max(0.001, ...shown.map((phase, index) => starts[index] + phase.seconds));
	const scale = (CHART_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / total;
	const attempts = new Set(shown.map((phase) => phase.attempt)).size;
	const rows = shown.map((phase, index) => {
		const y = index * ROW_HEIGHT;
		const x = LABEL_WIDTH + starts[index] * scale;
		const width = Math.max(2, phase.seconds * scale);
		const label = attempts > 1 ? `${phase.attempt}: ${describePhase(phase.phase)}` : describePhase(phase.phase);
		return svg("g", {}, svg("text", { x: 0, y: y + 16 }, label), svg("rect", { class: `phase ${phase.phase}`, x, y: y + 4, width, height: ROW_HEIGHT - 8, rx: 2 }), svg("text", { class: "axis", x: x + width + 6, y: y + 16 }, formatDuration(phase.seconds)));
	});
	const description = shown.map((phase) => `attempt ${phase.attempt}, ${describePhase(phase.phase)}: ${formatDuration(phase.seconds)}`).join("; ");
	return svg("svg", { class: "bars", viewBox: `0 0 ${CHART_WIDTH} ${shown.length * ROW_HEIGHT}`, role: "img", "aria-label": description }, rows);
}
