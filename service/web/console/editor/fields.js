/** Labelled controls of the inspector. Each has `element` and `show(value)`, which never overwrites what is being typed. */

import { h, replaceChildren } from "../dom.js";
import { formatTimecode, parseTimecode, roundTo } from "../format.js";

let lastId = 0;

function createField(label, control, format, { hint } = {}) {
	const id = `field-${(lastId += 1)}`;
	control.id = id;
	const element = h("div", { class: "field" }, h("label", { for: id }, label), control, hint && h("small", {}, hint));
	return {
		element,
		control,
		show(value) {
			if (document.activeElement === control && control.type !== "range") return;
			const text = format(value);
			if (control.value !== text) control.value = text;
		},
	};
}

/** Return a field for a number; `onChange(number)` is called for each valid input, with null if it is emptied. */
export function numberField(label, onChange, { min, max, step = "any", unit, isOptional = false } = {}) {
	const control = h("input", {
		type: "number",
		min,
		max,
		step,
		inputmode: "decimal",
		oninput: () => {
			if (control.value === "") return isOptional && onChange(null);
			if (control.validity.valid) onChange(control.valueAsNumber);
			return undefined;
		},
	});
	return createField(unit ? `${label} (${unit})` : label, control, (value) => (value === null || value === undefined ? "" : String(roundTo(value, 2))));
}

/** Return a slider; `onChange(number)`. */
export function sliderField(label, onChange, { min, max, step }) {
	const control = h("input", { type: "range", min, max, step, oninput: () => onChange(control.valueAsNumber) });
	return createField(label, control, String);
}

/** Return a field for a time such as `1:02.5`; `onChange(seconds)`. */
export function timeField(label, onChange) {
	const control = h("input", {
		type: "text",
		inputmode: "decimal",
		class: "timecode",
		onchange: () => {
			const seconds = parseTimecode(control.value);
			control.setCustomValidity(seconds === null ? "Write a time as 1:02.5 or 62.5." : "");
			if (seconds === null) control.reportValidity();
			else onChange(seconds);
		},
	});
	return createField(label, control, (value) => formatTimecode(value, 3));
}

export function textField(label, onChange, { rows = 0, maxlength } = {}) {
	const control = h(rows ? "textarea" : "input", { rows: rows || null, maxlength, dir: "auto", oninput: () => onChange(control.value) });
	return createField(label, control, (value) => value ?? "");
}

export function colorField(label, onChange) {
	const control = h("input", { type: "color", oninput: () => onChange(control.value) });
	return createField(label, control, (value) => value ?? "#ffff00");
}

/** Return a choice; `options` are `[value, label]`; `onChange(value)`. */
export function selectField(label, options, onChange) {
	const control = h("select", { onchange: () => onChange(control.value) });
	replaceChildren(control, options.map(([value, text]) => h("option", { value }, text)));
	return createField(label, control, (value) => value ?? "");
}

export function checkField(label, onChange) {
	const control = h("input", { type: "checkbox", onchange: () => onChange(control.checked) });
	const element = h("label", { class: "check" }, control, h("span", {}, label));
	return {
		element,
		control,
		show(value) {
			control.checked = Boolean(value);
		},
	};
}

/** Return a row of buttons of which one is pressed; `options` are `[value, label]`. */
export function segmentedField(label, options, onChange) {
	const buttons = options.map(([value, text]) => h("button", { type: "button", "aria-pressed": "false", onclick: () => onChange(value) }, text));
	const element = h("div", { class: "field" }, h("span", { class: "label" }, label), h("div", { class: "segmented", role: "group", "aria-label": label }, buttons));
	return {
		element,
		show(value) {
			options.forEach(([option], index) => buttons[index].setAttribute("aria-pressed", String(option === value)));
		},
	};
}

export function button(label, onclick, attributes = {}) {
	return h("button", { type: "button", onclick, ...attributes }, label);
}
