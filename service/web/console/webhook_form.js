/** The fields of a webhook, for a new one and for one that exists. */

import { DEFAULT_EVENTS, EVENTS, FORMATS, TYPES } from "./choices.js";
import { form, h, replaceChildren } from "./dom.js";
import { checkField, selectField, textField } from "./editor/fields.js";
import { formatPairs, parsePairs } from "./words.js";

export const FORMAT_LABELS = { standard: "Standard Webhooks (JSON)", cloudevents: "CloudEvents 1.0", slack: "Text for Slack" };
const NEW = { kind: "url", description: "", events: DEFAULT_EVENTS, filter: null, header_names: [], format: FORMATS[0] };

export class WebhookForm {
	/** `submit(body)` is called with all values as the API takes them; `endpoint` is the one that they are of. */
	constructor(label, submit, endpoint = NEW) {
		const { kind, url, description, events, filter, format, header_names: names, rate_limit: limit } = endpoint;
		this.filter = filter ?? {};
		this.isListener = kind === "listener";
		this.events = createChecks("Events", EVENTS, events);
		this.types = createChecks("Only exports of the type", TYPES, this.filter.type ?? []);
		this.kept = createChecks("Headers to keep; their values are not shown", names, names);
		this.fields = {
			url: textField("URL", null, { type: "url", required: true, placeholder: "https://example.com/hooks", maxlength: 2048 }),
			description: textField("Description", null, { maxlength: 500 }),
			format: selectField("Format", FORMATS.map((name) => [name, FORMAT_LABELS[name] ?? name]), null),
			rate_limit: textField("Deliveries a second, at most", null, { type: "number", min: 0.01, max: 100, step: "any", placeholder: "No limit" }),
			headers: textField("Headers to add, one Name: value on a line", null, { rows: 2, spellcheck: "false", autocomplete: "off", placeholder: "X-Api-Key: …" }),
			project_id: textField("Only exports of the project", null, { maxlength: 200 }),
			metadata: textField("Only exports with metadata, one key=value on a line", null, { rows: 2 }),
		};
		const texts = { url, description, format, rate_limit: limit, project_id: this.filter.project_id, metadata: formatPairs(this.filter.metadata) };
		for (const [name, text] of Object.entries(texts)) this.fields[name].show(text);
		const problem = h("p.problem", { role: "alert" });
		const send = () => Promise.resolve().then(() => submit(this.values)).catch((error) => replaceChildren(problem, error.message));
		this.element = form("page", send, this.#createFields(names), problem, h("div.buttons", h("button.primary", label)));
	}

	#createFields(names) {
		const { url, description, format, rate_limit: limit, headers, project_id: project, metadata } = this.fields;
		const own = this.isListener ? [] : [names.length > 0 && this.kept, headers];
		const more = h("details", h("summary", "More: format, limit, headers, filter"), h("div.page", format, limit, own, this.types, project, metadata));
		return [!this.isListener && url, description, this.events, more];
	}

	/** The values as the API takes them; throws what is wrong with a line. */
	get values() {
		const { url, headers, description, format, rate_limit: limit, project_id: project, metadata } = this.#texts;
		const removed = this.kept.unchecked.map((name) => [name, null]);
		const own = this.isListener ? {} : { url, headers: { ...Object.fromEntries(removed), ...parsePairs(headers, ":") } };
		const conditions = { ...this.filter, type: this.types.checked, project_id: project, metadata: parsePairs(metadata) };
		const given = Object.entries(conditions).filter(([, value]) => Object.keys(value).length > 0);
		return { ...own, description, format, events: this.events.checked, rate_limit: Number(limit) || null, filter: given.length > 0 ? Object.fromEntries(given) : null };
	}

	get #texts() {
		return Object.fromEntries(Object.entries(this.fields).map(([name, { control }]) => [name, control.value.trim()]));
	}
}

/** Return a group of boxes, those of `checked` checked, and its `checked` and `unchecked` values. */
function createChecks(legend, values, checked) {
	const boxes = values.map((value) => checkField(value, null, checked.includes(value)));
	const select = (isOn) => values.filter((_value, index) => boxes[index].control.checked === isOn);
	return {
		element: h("fieldset", h("legend", legend), h("div.grid.choices", boxes)),
		get checked() {
			return select(true);
		},
		get unchecked() {
			return select(false);
		},
	};
}
