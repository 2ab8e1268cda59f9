/** Labelled controls: elements with their `control`, and `show(value)`, which never overwrites what is being typed. */

import { button, h } from "../dom.js";
import { formatTimecode, parseTimecode, roundTo } from "../words.js";

let count = 0;

function createField(label, control, format = (value) => value ?? "") {
	control.id = `field-${(count += 1)}`;
	const show = (value) => {
		const text = String(format(value));
		if ((document.activeElement !== control || control.type === "range") && control.value !== text) control.value = text;
	};
	return Object.assign(h("div.field", h("label", { for: control.id }, label), control), { control, show });
}

/** Return a field for a number, a slider if its `type` is "range"; `onChange(number)` is called for each valid input. */
export function numberField(label, onChange, attributes) {
	const control = h("input", { type: "number", step: "any", ...attributes, oninput: () => control.value && control.validity.valid && onChange(control.valueAsNumber) });
	return createField(label, control, (value) => roundTo(value));
}

/** Return a field for a time such as `1:02.5`; `onChange(seconds)`. */
export function timeField(label, onChange) {
	const onchange = () => {
		const seconds = parseTimecode(control.value);
		control.setCustomValidity(seconds === null ? "Write a time as 1:02.5 or 62.5." : "");
		if (control.reportValidity()) onChange(seconds);
	};
	const control = h("input.timecode", { inputmode: "decimal", onchange });
	return createField(label, control, (value) => formatTimecode(value, 3));
}

/** Return a field for a text, or what else an input of its `type` holds; one with `rows` has several lines. */
export function textField(label, onChange, attributes = {}) {
	const control = h(attributes.rows ? "textarea" : "input", { dir: "auto", ...attributes, oninput: () => onChange?.(control.value) });
	return createField(label, control);
}

/** Return a choice; `options` are `[value, label]`. */
export function selectField(label, options, onChange) {
	const control = h("select", { onchange: () => onChange?.(control.value) }, options.map(([value, text]) => h("option", { value }, text)));
	return createField(label, control);
}

export function checkField(label, onChange, checked = false) {
	const control = h("input", { type: "checkbox", checked, onchange: () => onChange?.(control.checked) });
	return Object.assign(h("label.check", control, label), { show: (value) => (control.checked = value) }); // a label has its `control`
}

/** Return a row of buttons of which one is pressed; `options` are `[value, label]`. */
export function segmentedField(label, options, onChange) {
	const buttons = options.map(([value, text]) => button(text, () => onChange(value), { value }));
	const show = (chosen) => buttons.forEach((element) => element.setAttribute("aria-pressed", element.value === chosen));
	return Object.assign(h("div.field", h("span.label", label), h("div.segmented", { role: "group", "aria-label": label }, buttons)), { show });
}
