/** What an export has beside its config. */

import { h } from "./dom.js";
import { selectField, textField } from "./editor/fields.js";
import { formatPairs, parsePairs } from "./words.js";

const PRIORITIES = [["normal", "Normal"], ["high", "High"], ["low", "Low"]];

/** Fields by the names of the API; `texts` is what they hold. Those that are hidden do not count. */
export class Options {
	constructor(onChange) {
		const field = (label, attributes) => textField(label, onChange, attributes);
		this.fields = {
			name: field("Export name", { maxlength: 200 }),
			project_id: field("Project", { maxlength: 200 }),
			priority: selectField("Priority", PRIORITIES, onChange),
			metadata: field("Metadata, one key=value on a line", { rows: 2 }),
			not_before: field("Start not before", { type: "datetime-local" }),
			start_within_seconds: field("Fail if not started within (s)", { type: "number", min: 0, step: "any" }),
			deadline_seconds: field("Fail if not complete within (s)", { type: "number", min: 0, step: "any" }),
			expires_in_days: field("Delete the file after (days)", { type: "number", min: 1, max: 3650 }),
			max_cost_usd: field("Maximum cost ($)", { type: "number", min: 0, step: "any" }),
		};
		this.element = h("div.page", Object.values(this.fields));
	}

	get texts() {
		const shown = Object.entries(this.fields).filter(([, field]) => !field.hidden);
		return Object.fromEntries(shown.map(([name, { control }]) => [name, control.value]));
	}

	set texts(texts) {
		for (const [name, field] of Object.entries(this.fields)) field.show(texts[name]);
	}

	/** Return the values as the API takes them, null for what is empty; numbers and booleans of `job` that are still the same stay so. */
	toValues(job = {}) {
		const { texts } = this;
		const convert = (text, value) => (text === String(value) ? value : text);
		const values = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, convert(text, job[name]) || null]));
		const pairs = Object.entries(parsePairs(texts.metadata));
		values.metadata = Object.fromEntries(pairs.map(([key, text]) => [key, convert(text, job.metadata?.[key])]));
		if (values.not_before) values.not_before = new Date(values.not_before).toISOString();
		for (const [name, { control }] of Object.entries(this.fields)) if (control.type === "number" && values[name]) values[name] = Number(values[name]);
		return values;
	}
}

/** Return the texts of an export, for its fields. */
export function textsOf({ name, project_id, priority, metadata, max_cost_usd }) {
	return { name, project_id, priority, metadata: formatPairs(metadata), max_cost_usd };
}
