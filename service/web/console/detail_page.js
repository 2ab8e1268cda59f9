/** One export: players, state, how long each phase took, its log, and what can be done with it. */

import { button, factList, form, h, replaceChildren, setText, table } from "./dom.js";
import { formatConfig } from "./editor/config_text.js";
import { Options, textsOf } from "./options.js";
import { loadPlayers, saveDraft } from "./players.js";
import { STATUSES, TYPES, describeCost, describeOutput, describePhase, describeState, formatDollars, formatDuration, formatMoment, formatTime, isActive, nameOf } from "./words.js";

export default class DetailPage {
	#shown = null;
	#playersFor = "";

	constructor(app, id) {
		this.app = app;
		this.id = id;
		this.badge = h("span");
		this.heading = h("h1", { dir: "auto" }, "Export");
		this.actions = h("div.buttons");
		this.state = h("p", { dir: "auto", role: "status" });
		this.advice = h("p");
		this.bar = h("progress", { max: 100, "aria-label": "Progress" });
		this.players = h("div.players");
		this.facts = h("div");
		this.options = new Options();
		this.editing = h("details", h("summary", { onclick: () => this.#fillFields() }, "Edit"), form("page", () => app.run(() => this.#save()), this.options, h("div.buttons", h("button.primary", "Save"))));
		this.chart = h("div");
		this.log = h("div");
		this.config = h("pre", { tabindex: 0, "aria-label": "Config" });
		this.element = h(
			"div.page",
			h("a", { href: "#/" }, "Exports"),
			h("div.page-head", h("div.title", this.heading, this.badge), this.actions),
			this.state,
			this.advice,
			this.bar,
			this.players,
			h(
				"div.columns",
				h("section.panel", h("h2", "Where the time went"), this.chart, h("h2", "Log"), this.log),
				h("section.panel", h("h2", "Facts"), this.facts, this.editing, h("h2", "Settings"), this.config),
			),
		);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	async start() {
		const [job, request] = await Promise.all([this.app.client.get(this.id), this.#call("GET", "/request")]);
		this.id = job.job_id;
		this.request = request;
		setText(this.config, formatConfig(request.config));
		this.app.store.merge([job]);
		this.#show();
	}

	close() {
		this.unsubscribe();
	}

	#call(method, part = "", more = {}) {
		return this.app.call(method, `/exports/${encodeURIComponent(this.id)}${part}`, more);
	}

	#show() {
		const job = this.app.store.get(this.id);
		const previous = this.#shown;
		if (previous && !job) return this.#leave(previous);
		if (!job || !this.request || job === previous) return;
		this.#shown = job;
		this.badge.className = `badge ${job.status}`;
		setText(this.badge, STATUSES[job.status]);
		setText(this.heading, nameOf(job));
		setText(this.state, job.error ? `${describeState(job)} (${job.error.code})` : (!isActive(job) && job.message) || describeState(job));
		this.state.className = job.error ? "problem" : "muted";
		setText(this.advice, adviseOn(job));
		this.bar.hidden = job.status !== "processing";
		this.bar.value = job.progress;
		this.#showFacts(job);
		if (previous?.status !== job.status) this.#showActions(job);
		if (previous?.phase !== job.phase || previous.attempt !== job.attempt) this.#loadTimeline();
		const playersFor = isActive(job) ? "source" : `${job.status}-${job.attempt}`;
		if (this.#playersFor !== playersFor) {
			this.#playersFor = playersFor;
			loadPlayers(this.app, job, this.players);
		}
	}

	/** Leave the page of an export that was erased, here or elsewhere. */
	#leave(job) {
		this.#shown = null;
		this.app.say(`${nameOf(job)} was deleted.`);
		location.hash = "#/";
	}

	#showFacts(job) {
		const { output } = job;
		const facts = {
			Export: job.job_id,
			"Chosen id": job.export_id,
			Type: TYPES[job.type] ?? job.type,
			Project: job.project_id,
			Batch: job.batch_id && h("a", { href: `#/batches/${encodeURIComponent(job.batch_id)}` }, job.batch_id),
			Priority: job.status === "pending" && job.priority,
			"Not before": job.not_before && formatMoment(job.not_before),
			Attempt: job.attempt,
			"Runs on": job.runner,
			Submitted: formatMoment(job.created_at),
			Ended: job.completed_at && formatMoment(job.completed_at),
			Expires: job.expires_at && formatMoment(job.expires_at),
			"GPU time": job.runner === "modal" && formatDuration(job.gpu_seconds),
			Cost: describeCost(job),
			"Maximum cost": job.max_cost_usd && formatDollars(job.max_cost_usd),
			Result: output && describeOutput(output),
			Checksum: output?.checksum,
			Source: job.input_key,
			"Stored as": job.output_key,
			Metadata: textsOf(job).metadata.replaceAll("\n", ", ") || null,
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
			(job.status === "error" || job.status === "cancelled") && !isCostUsedUp(job) && app.button("Try again", change(app.client.retry), { class: "primary" }),
			button("Use these settings again", () => this.#copySettings(job), { class: isCostUsedUp(job) && "primary" }),
			app.button("Delete for good", () => this.#erase(job), { class: "danger" }),
		);
	}

	#fillFields() {
		const { name, project_id: project, metadata, priority, ...others } = this.options.fields;
		this.options.texts = textsOf(this.#shown);
		priority.hidden = this.#shown.status !== "pending";
		for (const field of Object.values(others)) field.hidden = true; // these are for new exports only
	}

	async #save() {
		this.app.store.merge([await this.#call("PATCH", "", { body: this.options.toValues(this.#shown) })]);
		this.editing.open = false;
	}

	async #erase(job) {
		if (!confirm("Delete the file and all data of this export? It can't be restored.")) return;
		await this.#call("DELETE", "", { query: { purge: true } });
		this.app.store.forget(job.job_id);
	}

	async #download() {
		const { url } = await this.app.client.downloadUrl(this.id, { disposition: "attachment" });
		h("a", { href: url, download: "" }).click();
	}

	#copySettings(job) {
		const { input_key: key, output_key: _key, ...config } = this.request.config;
		saveDraft({ key, name: nameOf(job), type: this.request.type, config, options: textsOf(job) });
		location.hash = "#/new";
	}

	async #loadTimeline() {
		const { phases, events } = await this.#call("GET", "/events", { headers: { Accept: "application/json" } }).catch(() => ({})); // the next change loads it again
		if (!phases) return;
		replaceChildren(this.chart, drawPhases(phases.filter(({ phase }) => phase !== "done")));
		replaceChildren(this.log, table(["Time", "Attempt", "State", "Message"], events.map((event) => [formatTime(event.at), event.attempt, STATUSES[event.status], event.message])));
	}
}

/** Tell whether an export has cost all that it may; it would fail again. */
function isCostUsedUp({ error, cost_usd: cost, max_cost_usd: limit }) {
	return error?.code === "budget_exceeded" && limit !== null && cost >= limit;
}

/** Return what to do about an export whose budget is used up; nothing for others. */
function adviseOn(job) {
	if (isCostUsedUp(job)) return "Its maximum cost is used up, so it can't be tried again. Use these settings again, with a higher maximum cost or a shorter or smaller export.";
	return job.error?.code === "budget_exceeded" ? "The budget of the day is used up. Try again tomorrow (UTC), or ask an operator for a higher one." : "";
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
