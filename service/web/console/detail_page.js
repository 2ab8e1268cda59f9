/** One export: players, state, how long each phase took, its log, and what can be done with it. */

import { button, factList, h, replaceChildren, setText, table } from "./dom.js";
import { formatConfig } from "./editor/config_text.js";
import { formatDollars, formatDuration, formatMoment, formatTime } from "./format.js";
import { loadPlayers } from "./players.js";
import { STATUSES, TYPES, describeOutput, describePhase, describeState, isActive, nameOf } from "./states.js";

export class DetailPage {
	#shown = null;
	#playersFor = "";

	constructor(app, id) {
		this.app = app;
		this.id = id;
		this.badge = h("span");
		this.heading = h("h1", { dir: "auto" }, "Export");
		this.actions = h("div.buttons");
		this.state = h("p", { dir: "auto", role: "status" });
		this.bar = h("progress", { max: 100, "aria-label": "Progress" });
		this.players = h("div.players");
		this.facts = h("div");
		this.chart = h("div");
		this.log = h("div");
		this.config = h("pre", { tabindex: 0, "aria-label": "Config" });
		this.element = h(
			"div.page",
			h("a", { href: "#/" }, "Exports"),
			h("div.page-head", h("div.title", this.heading, this.badge), this.actions),
			this.state,
			this.bar,
			this.players,
			h(
				"div.columns",
				h("section.panel", h("h2", "Where the time went"), this.chart, h("h2", "Log"), this.log),
				h("section.panel", h("h2", "Facts"), this.facts, h("h2", "Settings"), this.config),
			),
		);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	async start() {
		const [job, request] = await Promise.all([this.app.client.get(this.id), this.#get("request")]);
		this.id = job.job_id;
		this.request = request;
		setText(this.config, formatConfig(request.config));
		this.app.store.merge([job]);
		this.#show();
	}

	close() {
		this.unsubscribe();
	}

	#get(part) {
		return this.app.client.request("GET", `/api/exports/${encodeURIComponent(this.id)}/${part}`, { headers: { Accept: "application/json" } });
	}

	#show() {
		const job = this.app.store.get(this.id);
		const previous = this.#shown;
		if (!job || !this.request || job === previous) return;
		this.#shown = job;
		this.badge.className = `badge ${job.status}`;
		setText(this.badge, STATUSES[job.status]);
		setText(this.heading, nameOf(job));
		setText(this.state, job.error ? `${describeState(job)} (${job.error.code})` : (!isActive(job) && job.message) || describeState(job));
		this.state.className = job.error ? "problem" : "muted";
		this.bar.hidden = !isActive(job);
		this.bar.value = job.progress;
		this.#showFacts(job);
		if (previous?.status !== job.status) this.#showActions(job);
		if (previous?.phase !== job.phase || previous.attempt !== job.attempt) this.#loadTimeline();
		const playersFor = isActive(job) ? "source" : `${job.status}-${job.attempt}`;
		if (this.#playersFor !== playersFor) {
			this.#playersFor = playersFor;
			loadPlayers(this.app.client, job, this.players);
		}
	}

	#showFacts(job) {
		const { output } = job;
		const facts = {
			Export: job.job_id,
			"Chosen id": job.export_id,
			Type: TYPES[job.type] ?? job.type,
			Project: job.project_id,
			"Time left": isActive(job) && job.eta_seconds && formatDuration(job.eta_seconds),
			Attempt: job.attempt,
			"Runs on": job.runner,
			Submitted: formatMoment(job.created_at),
			Ended: job.completed_at && formatMoment(job.completed_at),
			"GPU time": job.runner === "modal" && formatDuration(job.gpu_seconds),
			Result: output && describeOutput(output),
			Checksum: output?.checksum,
			Source: job.input_key,
			"Stored as": job.output_key,
			Metadata: Object.entries(job.metadata)
				.map(([key, value]) => `${key}=${value}`)
				.join(", "),
		};
		replaceChildren(this.facts, factList(facts));
	}

	#showActions(job) {
		const { app } = this;
		const change = (call) => async () => app.store.merge([await call(job.job_id)]);
		replaceChildren(
			this.actions,
			job.status === "complete" && app.button("Download", () => this.#download(), { class: "primary" }),
			isActive(job) && app.button("Cancel", change(app.client.cancel), { class: "danger" }),
			(job.status === "error" || job.status === "cancelled") && app.button("Try again", change(app.client.retry), { class: "primary" }),
			app.button("Rename", () => this.#rename()),
			button("Use these settings again", () => this.#copySettings(job)),
			app.button("Delete for good", () => this.#erase(job), { class: "danger" }),
		);
	}

	async #rename() {
		const name = prompt("The name of this export", this.#shown.name ?? "");
		if (name === null) return;
		const body = { name: name || null };
		this.app.store.merge([await this.app.client.request("PATCH", `/api/exports/${encodeURIComponent(this.id)}`, { body })]);
	}

	async #erase(job) {
		if (!confirm("Delete the file and all data of this export? It can't be restored.")) return;
		await this.app.client.request("DELETE", `/api/exports/${encodeURIComponent(job.job_id)}`, { query: { purge: true } });
		this.app.store.forget(job.job_id);
		location.hash = "#/";
	}

	async #download() {
		const { url } = await this.app.client.downloadUrl(this.id, { disposition: "attachment" });
		h("a", { href: url, download: "" }).click();
	}

	async #copySettings(job) {
		const { saveDraft } = await import("./new_page.js");
		const { input_key: key, output_key: _key, ...config } = this.request.config;
		saveDraft({ key, name: nameOf(job), type: this.request.type, config });
		location.hash = "#/new";
	}

	async #loadTimeline() {
		const { phases, events, estimated_cost_usd: cost } = await this.#get("events").catch(() => ({})); // the next change loads it again
		if (!phases) return;
		replaceChildren(this.chart, drawPhases(phases.filter(({ phase }) => phase !== "done")), cost !== null && h("p.muted", `About ${formatDollars(cost)} of GPU time`));
		replaceChildren(this.log, table(["Time", "Attempt", "State", "Message"], events.map((event) => [formatTime(event.at), event.attempt, STATUSES[event.status], event.message])));
	}
}

/** Draw the phases as bars on one time axis. */
function drawPhases(phases) {
	if (phases.length === 0) return h("p.muted", "Nothing has run yet.");
	const starts = phases.map((phase) => (new Date(phase.started_at) - new Date(phases[0].started_at)) / 1000);
	const total = Math.max(0.001, ...phases.map(({ seconds }, index) => starts[index] + seconds));
	const rows = phases.map(({ phase, seconds }, index) => {
		const style = { left: `${(starts[index] / total) * 100}%`, width: `${(seconds / total) * 100}%` };
		return [h("span", describePhase(phase)), h("div", h(`div.phase.${phase}`, { style })), h("span.muted", formatDuration(seconds))];
	});
	const label = phases.map(({ attempt, phase, seconds }) => `attempt ${attempt}, ${describePhase(phase)}: ${formatDuration(seconds)}`).join("; ");
	return h("div.bars", { role: "img", "aria-label": label }, rows);
}
