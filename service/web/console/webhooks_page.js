/** Webhook endpoints, their deliveries with every attempt, and the verify debugger. */

import { button, form, h, replaceChildren, table } from "./dom.js";
import { checkField, segmentedField, textField } from "./editor/fields.js";
import { LiveView } from "./live_view.js";
import { formatDuration, formatMoment } from "./words.js";

const EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"];
const DELIVERY_STATES = [["", "All"], ["pending", "Pending"], ["delivered", "Delivered"], ["failed", "Failed"]];
const BADGES = { delivered: "complete", failed: "error", pending: "processing" };
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
		const body = { url: "", description: "" };
		const chosen = new Set(EVENTS.filter((event) => event !== "export.progress"));
		const url = textField("URL", (value) => (body.url = value), { type: "url", required: true, placeholder: "https://example.com/hooks", maxlength: 2048 });
		const description = textField("Description", (value) => (body.description = value), { maxlength: 500 });
		const events = EVENTS.map((event) => checkField(event, (isOn) => (isOn ? chosen.add(event) : chosen.delete(event)), chosen.has(event)));
		const problem = h("p.problem", { role: "alert" });
		const submit = async () => {
			try {
				const endpoint = await this.#call("POST", "", { ...body, events: [...chosen] });
				await this.#showEndpoints();
				this.#showSecret(endpoint);
			} catch (error) {
				replaceChildren(problem, error.message);
			}
		};
		return form("panel", submit, h("h2", "Add a webhook"), url, description, h("fieldset", h("legend", "Events"), events), problem, h("div.buttons", h("button.primary", "Add")));
	}

	#showSecret({ secret }) {
		this.element.prepend(h("section.panel", { role: "status" }, h("h2", "The secret, shown this once"), h("pre", { tabindex: 0 }, secret), h("div.buttons", button("Copy", () => navigator.clipboard.writeText(secret)))));
	}

	async #showEndpoint() {
		const { app } = this;
		const path = `/${this.id}`;
		const endpoint = await this.#call("GET", path);
		const send = (label, action, body = {}, say = () => {}) => app.button(label, async () => {
			say(await this.#call("POST", `${path}/${action}`, body));
			await this.start();
		});
		const since = new Date(Date.now() - DAY_MILLISECONDS).toISOString();
		const actions = [
			send("Send a test event", "test"),
			send("Send what was missed", "recover", { since }, ({ recovered }) => app.say(`${recovered} events of the last 24 hours are sent again.`)),
			app.button(endpoint.enabled ? "Disable" : "Enable", async () => {
				await this.#call("PATCH", path, { enabled: !endpoint.enabled });
				await this.#showEndpoint();
				await this.start();
			}),
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
		this.deliveries = h("div");
		replaceChildren(
			this.element,
			h("a", { href: "#/webhooks" }, "Webhooks"),
			h("div.page-head", h("h1", nameEndpoint(endpoint)), createBadge(endpoint)),
			endpoint.failing_since && h("p.problem", `Failing since ${formatMoment(endpoint.failing_since)}.`),
			h("div.buttons", actions),
			filter,
			this.deliveries,
			this.#createVerifier(),
		);
	}

	async #loadDeliveries() {
		const { deliveries } = await this.#call("GET", `/${this.id}/deliveries${this.#state && `?state=${this.#state}`}`);
		replaceChildren(this.deliveries, deliveries.length > 0 ? deliveries.map((delivery) => this.#createDelivery(delivery)) : h("p.muted", "No deliveries."));
		return deliveries.some(({ state }) => state === "pending") && REFRESH_MILLISECONDS;
	}

	#createDelivery({ delivery_id: id, state, type, created_at: time, attempts }) {
		const summary = h("summary", h(`span.badge.${BADGES[state]}`, state), ` ${type} `, h("span.muted", `${formatMoment(time)}, ${attempts.length === 1 ? "1 attempt" : `${attempts.length} attempts`}`));
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
		const rows = attempts.map(({ attempt, at, status, error, seconds, excerpt }) => [attempt, formatMoment(at), status ?? error?.message ?? "under way", formatDuration(seconds), h("code", excerpt)]);
		const redeliver = async () => {
			await this.#call("POST", `${path}/redeliver`, {});
			await this.start();
		};
		replaceChildren(
			content,
			h("div.buttons", this.app.button("Send again", redeliver), next && h("span.muted", `Next attempt ${formatMoment(next)}`)),
			table(["Attempt", "Time", "Answer", "Took", "Body"], rows),
			h("h2", "Sent"),
			h("pre", { tabindex: 0 }, `webhook-id: ${id}\ncontent-type: application/json\n\n${JSON.stringify(JSON.parse(payload), null, 2)}`),
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

function nameEndpoint({ url, description }) {
	return url ?? (description || "A listener");
}

function createBadge({ enabled, disabled_reason: reason }) {
	return h(`span.badge.${enabled ? "complete" : "error"}`, enabled ? "Enabled" : `Disabled: ${reason}`);
}
