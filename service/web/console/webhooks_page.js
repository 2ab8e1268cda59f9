/** Webhook endpoints, their deliveries with every attempt, and the verify debugger. */

import { h, replaceChildren, table } from "./dom.js";
import { checkField, segmentedField, textField } from "./editor/fields.js";
import { formatDuration, formatMoment } from "./format.js";

const EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"];
const DELIVERY_STATES = [["", "All"], ["pending", "Pending"], ["delivered", "Delivered"], ["failed", "Failed"]];
const REFRESH_MILLISECONDS = 2000;
const HOUR_MILLISECONDS = 3_600_000;
const NUMBER = { class: "number" };

export class WebhooksPage {
	#state = "";
	#timer = 0;
	#open = new Set();

	constructor(app, id) {
		this.app = app;
		this.id = id;
		this.body = h("div", { class: "page" });
		this.element = this.body;
	}

	async start() {
		try {
			if (this.id) await this.#showEndpoint();
			else await this.#showEndpoints();
		} catch (problem) {
			if (problem.status === 401) this.app.sayProblem(problem);
			else replaceChildren(this.body, h("h1", {}, "Webhooks"), h("p", { class: "problem" }, problem.detail ?? problem.message), h("a", { href: "#/webhooks" }, "All webhooks"));
		}
	}

	close() {
		this.isClosed = true;
		clearTimeout(this.#timer);
	}

	#call(method, path, body) {
		return this.app.client.request(method, `/api/webhooks${path}`, { body });
	}

	async #act(run) {
		try {
			return await run();
		} catch (problem) {
			this.app.sayProblem(problem);
			return undefined;
		}
	}

	async #showEndpoints() {
		const { webhooks } = await this.#call("GET", "");
		const rows = webhooks.map((endpoint) => [h("a", { href: `#/webhooks/${endpoint.id}` }, endpoint.url), [{ dir: "auto" }, endpoint.description], endpoint.events.map(shortName).join(", "), stateBadge(endpoint)]);
		replaceChildren(
			this.body,
			h("h1", {}, "Webhooks"),
			webhooks.length === 0
				? h("p", { class: "muted" }, "None yet. A webhook gets a signed POST for each event of your exports.")
				: table(["URL", "Description", "Events", "State"], rows),
			h("div", { class: "columns" }, this.#createForm(), this.#createVerifier(null)),
		);
	}

	#createForm() {
		const values = { url: "", description: "" };
		const chosen = new Set(EVENTS.filter((event) => event !== "export.progress"));
		const url = textField("URL", (value) => (values.url = value), { maxlength: 2048 });
		Object.assign(url.control, { type: "url", required: true, placeholder: "https://example.com/hooks" });
		const description = textField("Description", (value) => (values.description = value), { maxlength: 500 });
		const events = EVENTS.map((event) => {
			const field = checkField(event, (isOn) => (isOn ? chosen.add(event) : chosen.delete(event)));
			field.show(chosen.has(event));
			return field.element;
		});
		const problem = h("p", { class: "problem", role: "alert" });
		const submit = async (event) => {
			event.preventDefault();
			problem.textContent = "";
			try {
				const endpoint = await this.#call("POST", "", { ...values, events: [...chosen] });
				await this.#showEndpoints();
				this.body.prepend(secretPanel(endpoint));
			} catch (error) {
				problem.textContent = error.detail ?? error.message;
			}
		};
		return h("form", { class: "panel", onsubmit: submit }, h("h2", {}, "Add a webhook"), url.element, description.element, h("fieldset", {}, h("legend", {}, "Events"), events), problem, h("div", { class: "buttons" }, h("button", { class: "primary" }, "Add")));
	}

	async #showEndpoint() {
		const endpoint = await this.#call("GET", `/${this.id}`);
		this.deliveries = h("div", {});
		const reload = () => this.#act(() => this.#showEndpoint());
		const actions = [
			h("button", { type: "button", onclick: () => this.#act(async () => { await this.#call("POST", `/${this.id}/test`, {}); await this.#loadDeliveries(); }) }, "Send a test event"),
			h("button", { type: "button", onclick: () => this.#recover() }, "Send what was missed"),
			h("button", { type: "button", onclick: () => this.#act(async () => { await this.#call("PATCH", `/${this.id}`, { enabled: !endpoint.enabled }); await reload(); }) }, endpoint.enabled ? "Disable" : "Enable"),
			h("button", { type: "button", onclick: () => this.#act(async () => { const rotated = await this.#call("POST", `/${this.id}/rotate`, {}); await reload(); this.body.prepend(secretPanel(rotated)); }) }, "New secret"),
			confirmButton("Delete", "Delete it and its log", () => this.#act(async () => { await this.#call("DELETE", `/${this.id}`); location.hash = "#/webhooks"; })),
		];
		const filter = segmentedField("Deliveries", DELIVERY_STATES, (state) => { this.#state = state; filter.show(state); this.#act(() => this.#loadDeliveries()); });
		filter.show(this.#state);
		replaceChildren(
			this.body,
			h("div", { class: "page-head" }, h("div", {}, h("a", { href: "#/webhooks" }, "Webhooks"), h("h1", { class: "url" }, endpoint.url)), stateBadge(endpoint)),
			endpoint.failing_since && h("p", { class: "problem" }, `Failing since ${formatMoment(endpoint.failing_since)}.`),
			h("div", { class: "buttons" }, actions),
			filter.element,
			this.deliveries,
			this.#createVerifier(this.id),
		);
		await this.#loadDeliveries();
	}

	async #recover() {
		const since = new Date(Date.now() - 24 * HOUR_MILLISECONDS).toISOString();
		await this.#act(async () => {
			const { recovered } = await this.#call("POST", `/${this.id}/recover`, { since });
			this.app.say(`${recovered} events of the last 24 hours are sent again.`);
			await this.#loadDeliveries();
		});
	}

	async #loadDeliveries() {
		clearTimeout(this.#timer);
		const query = this.#state ? `?state=${this.#state}` : "";
		const { deliveries } = await this.#call("GET", `/${this.id}/deliveries${query}`);
		if (this.isClosed) return;
		replaceChildren(this.deliveries, deliveries.length === 0 ? h("p", { class: "muted" }, "No deliveries.") : deliveries.map((delivery) => this.#createDelivery(delivery)));
		if (deliveries.some((delivery) => delivery.state === "pending")) this.#timer = setTimeout(() => this.#act(() => this.#loadDeliveries()), REFRESH_MILLISECONDS);
	}

	#createDelivery(delivery) {
		const badge = { delivered: "complete", failed: "error", pending: "processing" }[delivery.state] ?? "";
		const details = h("details", { class: "panel delivery" }, h("summary", {}, h("span", { class: `badge ${badge}` }, delivery.state), ` ${delivery.type} `, h("span", { class: "muted" }, `${formatMoment(delivery.created_at)}, ${delivery.attempts.length} attempts`)));
		const fill = () => {
			if (!details.open) return this.#open.delete(delivery.delivery_id);
			this.#open.add(delivery.delivery_id);
			return this.#act(() => this.#fillDelivery(details, delivery.delivery_id));
		};
		details.addEventListener("toggle", fill);
		details.open = this.#open.has(delivery.delivery_id);
		return details;
	}

	async #fillDelivery(details, id) {
		const delivery = await this.#call("GET", `/${this.id}/deliveries/${id}`);
		const attempts = delivery.attempts.map((attempt) => [attempt.attempt, [NUMBER, formatMoment(attempt.at)], attempt.status ?? attempt.error?.message ?? "under way", [NUMBER, formatDuration(attempt.seconds)], [{ dir: "auto" }, h("code", {}, attempt.excerpt ?? "")]]);
		const redeliver = () => this.#act(async () => { await this.#call("POST", `/${this.id}/deliveries/${id}/redeliver`, {}); await this.#loadDeliveries(); });
		const summary = details.querySelector("summary");
		replaceChildren(
			details,
			summary,
			h("div", { class: "buttons" }, h("button", { type: "button", onclick: redeliver }, "Send again"), delivery.next_attempt_at && h("span", { class: "muted" }, `Next attempt ${formatMoment(delivery.next_attempt_at)}`)),
			table(["Attempt", "Time", "Answer", "Took", "Body"], attempts),
			h("h2", {}, "Sent"),
			h("pre", { tabindex: 0 }, `webhook-id: ${delivery.delivery_id}\ncontent-type: application/json\n\n${pretty(delivery.payload)}`),
		);
	}

	#createVerifier(id) {
		const fields = {
			headers: textField("Headers, one on a line", () => {}, { rows: 4 }),
			body: textField("Body, byte for byte", () => {}, { rows: 4 }),
		};
		fields.headers.control.placeholder = "webhook-id: …\nwebhook-timestamp: …\nwebhook-signature: v1,…";
		const answer = h("p", { role: "status" });
		const submit = (event) => {
			event.preventDefault();
			return this.#act(async () => {
				const body = { headers: parseHeaders(fields.headers.control.value), body: fields.body.control.value, ...(id && { id }) };
				const result = await this.#call("POST", "/verify", body);
				answer.className = result.valid ? "" : "problem";
				answer.textContent = result.valid ? "The signature is right." : result.detail;
			});
		};
		return h("form", { class: "panel", onsubmit: submit }, h("h2", {}, "Why does it not verify?"), h("p", { class: "muted" }, "Paste what your receiver got; the service says what is wrong with it."), fields.headers.element, fields.body.element, h("div", { class: "buttons" }, h("button", {}, "Check")), answer);
	}
}

function stateBadge({ enabled, disabled_reason: reason }) {
	return h("span", { class: `badge ${enabled ? "complete" : "error"}` }, enabled ? "Enabled" : `Disabled: ${reason}`);
}

function shortName(event) {
	return event.replace("export.", "");
}

function pretty(payload) {
	try {
		return JSON.stringify(typeof payload === "string" ? JSON.parse(payload) : payload, null, 2);
	} catch {
		return String(payload);
	}
}

function parseHeaders(text) {
	const lines = text.split("\n").filter((line) => line.includes(":"));
	return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]));
}

function secretPanel(endpoint) {
	const copy = () => navigator.clipboard.writeText(endpoint.secret);
	return h("section", { class: "panel", role: "status" }, h("h2", {}, "The secret, shown this once"), h("pre", { tabindex: 0 }, endpoint.secret), h("div", { class: "buttons" }, h("button", { type: "button", onclick: copy }, "Copy")));
}

/** Return a button that asks once more before it acts. */
function confirmButton(label, question, act) {
	const element = h("button", { type: "button", class: "danger", onclick: () => {
		if (element.textContent === question) act();
		else element.textContent = question;
	}, onblur: () => (element.textContent = label) }, label);
	return element;
}
