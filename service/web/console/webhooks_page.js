/** Webhook endpoints, their deliveries with every attempt, and the verify debugger. */

import { button, factList, form, h, replaceChildren, table } from "./dom.js";
import { segmentedField, textField } from "./editor/fields.js";
import { LiveView } from "./live_view.js";
import { FORMAT_LABELS, WebhookForm } from "./webhook_form.js";
import { formatCount, formatDuration, formatLatency, formatMoment, formatPairs, join } from "./words.js";

const DELIVERY_STATES = [["", "All"], ["pending", "Pending"], ["delivered", "Delivered"], ["failed", "Failed"], ["superseded", "Superseded"]];
const BADGES = { delivered: "complete", failed: "error", pending: "processing", superseded: "cancelled" };
const MAX_DELIVERIES = 100;
const REFRESH_MILLISECONDS = 2000;
const DAY_MILLISECONDS = 86_400_000;

export default class WebhooksPage extends LiveView {
	#state = "";
	#open = new Set();

	constructor(app, id) {
		super(app, h("div.page", h("h1", "Webhooks")));
		this.id = id;
	}

	/** Show the endpoints, or one; the deliveries of one are loaded again while some are pending. */
	async load() {
		if (!this.id) return this.#showEndpoints();
		if (!this.deliveries) await this.#showEndpoint();
		return this.#loadDeliveries();
	}

	#call(method, path, body) {
		return this.app.call(method, `/webhooks${path}`, { body });
	}

	async #showEndpoints() {
		const { webhooks } = await this.#call("GET", "");
		const rows = webhooks.map((endpoint) => [h("a", { href: `#/webhooks/${endpoint.id}` }, nameEndpoint(endpoint)), endpoint.description, endpoint.events.map((event) => event.replace("export.", "")).join(", "), createBadge(endpoint)]);
		replaceChildren(
			this.element,
			h("h1", "Webhooks"),
			rows.length > 0 ? table(["URL", "Description", "Events", "State"], rows) : h("p.muted", "None yet. A webhook gets a signed POST for each event of your exports."),
			h("div.columns", this.#createForm(), this.#createVerifier()),
		);
	}

	#createForm() {
		const add = async (body) => {
			const endpoint = await this.#call("POST", "", body);
			await this.#showEndpoints();
			this.#showSecret(endpoint);
		};
		return h("section.panel", h("h2", "Add a webhook"), new WebhookForm("Add", add));
	}

	#showSecret({ secret, previous_secret_until: end }) {
		const copy = button("Copy", () => navigator.clipboard.writeText(secret));
		const heading = this.element.querySelector("h1");
		(heading.closest(".page-head") ?? heading).after(h("section.panel", { role: "status" }, h("h2", "The secret, shown this once"), h("pre", { tabindex: 0 }, secret), end && h("p.muted", `The one before signs as well until ${formatMoment(end)}.`), h("div.buttons", copy)));
		scrollTo(0, 0);
		copy.focus();
	}

	async #showEndpoint() {
		const { app } = this;
		const path = `/${this.id}`;
		const endpoint = await this.#call("GET", path);
		const send = (label, action, createBody = () => ({}), say = () => {}) => app.button(label, async () => {
			say(await this.#call("POST", `${path}/${action}`, createBody()));
			await this.start();
		});
		const createRecovery = () => ({ since: new Date(Date.now() - DAY_MILLISECONDS).toISOString() });
		const change = async (body) => {
			await this.#call("PATCH", path, body);
			await this.#showEndpoint();
			await this.start();
			scrollTo(0, 0);
			document.querySelector("main").focus();
			app.say("Saved.");
		};
		const actions = [
			send("Send a test event", "test"),
			send("Send what was missed", "recover", createRecovery, ({ recovered }) => app.say(`${formatCount(recovered, "event")} of the last 24 hours will be sent again.`)),
			app.button(endpoint.enabled ? "Disable" : "Enable", () => change({ enabled: !endpoint.enabled })),
			app.button("New secret", async () => this.#showSecret(await this.#call("POST", `${path}/rotate`, {}))),
			app.button("Delete", async () => {
				if (!confirm("Delete the webhook and the log of its deliveries?")) return;
				await this.#call("DELETE", path);
				location.hash = "#/webhooks";
			}, { class: "danger" }),
		];
		const filter = segmentedField("Deliveries", DELIVERY_STATES, (state) => {
			this.#state = state;
			filter.show(state);
			app.run(() => this.start());
		});
		filter.show(this.#state);
		this.deliveries = h("div.deliveries");
		this.statistics = h("div");
		const edit = h("details", h("summary", "Edit"), new WebhookForm("Save", change, endpoint));
		replaceChildren(
			this.element,
			h("a", { href: "#/webhooks" }, "Webhooks"),
			h("div.page-head", h("h1", nameEndpoint(endpoint)), createBadge(endpoint)),
			endpoint.failing_since && h("p.problem", `Failing since ${formatMoment(endpoint.failing_since)}.`),
			h("div.buttons", actions),
			h("div.columns", h("section.panel", h("h2", "The last 24 hours"), this.statistics), h("section.panel", h("h2", "Settings"), createFacts(endpoint), edit)),
			filter,
			this.deliveries,
			this.#createVerifier(),
		);
	}

	async #loadDeliveries() {
		const list = `deliveries?limit=${MAX_DELIVERIES}${this.#state && `&state=${this.#state}`}`;
		const [{ deliveries, next_cursor: next }, statistics] = await Promise.all([list, "statistics"].map((part) => this.#call("GET", `/${this.id}/${part}`)));
		replaceChildren(this.statistics, createStatistics(statistics));
		const shown = deliveries.map((delivery) => this.#createDelivery(delivery));
		replaceChildren(this.deliveries, shown.length > 0 ? shown : h("p.muted", "No deliveries."), next && h("p.muted", `These are the latest ${MAX_DELIVERIES}; the API lists all.`));
		return deliveries.some(({ state }) => state === "pending") && REFRESH_MILLISECONDS;
	}

	#createDelivery({ delivery_id: id, state, type, created_at: time, attempts }) {
		const summary = h("summary", h(`span.badge.${BADGES[state]}`, state), ` ${type} `, h("span.muted", `${formatMoment(time)}, ${formatCount(attempts.length, "attempt")}`));
		const content = h("div.page");
		const ontoggle = () => {
			if (!details.open) return this.#open.delete(id);
			this.#open.add(id);
			return this.app.run(() => this.#fillDelivery(content, id));
		};
		const details = h("details.panel.delivery", { ontoggle, open: this.#open.has(id) }, summary, content);
		return details;
	}

	async #fillDelivery(content, id) {
		const path = `/${this.id}/deliveries/${id}`;
		const { attempts, next_attempt_at: next, payload } = await this.#call("GET", path);
		const rows = attempts.map(({ attempt, at, status, error, seconds, excerpt }) => [attempt, formatMoment(at), status ?? error?.message ?? "under way", formatLatency(seconds), h("code", excerpt)]);
		const redeliver = async () => {
			await this.#call("POST", `${path}/redeliver`, {});
			await this.start();
		};
		replaceChildren(
			content,
			h("div.buttons", this.app.button("Send again", redeliver), next && h("span.muted", `Next attempt ${formatMoment(next)}`)),
			table(["Attempt", "Time", "Answer", "Took", "Body"], rows),
			h("h2", "Sent"),
			payload ? h("pre", { tabindex: 0 }, `webhook-id: ${id}\n\n${JSON.stringify(JSON.parse(payload), null, 2)}`) : h("p.muted", "The export was erased, and with it the body."),
		);
	}

	#createVerifier() {
		const headers = textField("Headers, one on a line", null, { rows: 4, placeholder: "webhook-id: …\nwebhook-timestamp: …\nwebhook-signature: v1,…" });
		const body = textField("Body, byte for byte", null, { rows: 4 });
		const answer = h("p", { role: "status" });
		const verify = async () => {
			const lines = [...headers.control.value.matchAll(/^(.*?):(.*)$/gm)].map(([, name, value]) => [name.trim(), value.trim()]);
			const { valid, detail } = await this.#call("POST", "/verify", { headers: Object.fromEntries(lines), body: body.control.value, id: this.id || undefined });
			answer.className = valid ? "" : "problem";
			replaceChildren(answer, valid ? "The signature is right." : detail);
		};
		return form("panel", () => this.app.run(verify), h("h2", "Why does it not verify?"), h("p.muted", "Paste what your receiver got; the service says what is wrong with it."), headers, body, h("div.buttons", h("button", "Check")), answer);
	}
}

/** Return how the endpoint has done, and what waits for it. */
function createStatistics({ attempts, success_rate: rate, latency_p50_seconds: median, latency_p99_seconds: high, backlog, oldest_waiting_seconds: oldest }) {
	return factList({
		"Success rate": attempts > 0 ? `${Math.floor(rate * 1000) / 10} % of ${formatCount(attempts, "attempt")}` : "no attempts",
		"Latency, p50": formatLatency(median),
		"Latency, p99": formatLatency(high),
		Backlog: formatCount(backlog, "delivery"),
		"Oldest waiting": oldest !== null && `for ${formatDuration(oldest)}`,
	});
}

function createFacts({ format, events, filter, header_names: headers, rate_limit: limit }) {
	const conditions = Object.entries(filter ?? {}).map(([name, value]) => `${name}: ${name === "metadata" ? formatPairs(value).replaceAll("\n", ", ") : [value].flat().join(" or ")}`);
	return factList({
		Format: FORMAT_LABELS[format] ?? format,
		Events: join(...events),
		"Only exports of": filter && conditions.join("; "),
		Headers: headers.length > 0 && `${join(...headers)} (values are not shown)`,
		"Rate limit": limit && `${formatCount(limit, "delivery")} a second`,
	});
}

function nameEndpoint({ url, description }) {
	return url ?? (description || "A listener");
}

function createBadge({ enabled, disabled_reason: reason }) {
	return h(`span.badge.${enabled ? "complete" : "error"}`, enabled ? "Enabled" : `Disabled: ${reason}`);
}
