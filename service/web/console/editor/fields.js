/** Labelled controls. `show(value)` never overwrites what is being typed. */

import { h } from "../dom.js";
import { formatTimecode, parseTimecode, roundTo } from "../format.js";

let count = 0;

class Field {
	constructor(label, control, format = (value) => value ?? "") {
		Object.assign(this, { control, format });
		control.id = `field-${(count += 1)}`;
		this.element = h("div.field", h("label", { for: control.id }, label), control);
	}

	show(value) {
		const { control } = this;
		const text = String(this.format(value));
		if ((document.activeElement !== control || control.type === "range") && control.value !== text) control.value = text;
	}
}

class CheckField {
	constructor(label, onChange, checked) {
		this.control = h("input", { type: "checkbox", checked, onchange: () => onChange(this.control.checked) });
		this.element = h("label.check", this.control, label);
	}

	show(value) {
		this.control.checked = value;
	}
}

class SegmentedField {
	constructor(label, options, onChange) {
		this.buttons = new Map(options.map(([value, text]) => [value, h("button", { type: "button", onclick: () => onChange(value) }, text)]));
		this.element = h("div.field", h("span.label", label), h("div.segmented", { role: "group", "aria-label": label }, [...this.buttons.values()]));
	}

	show(value) {
		for (const [option, element] of this.buttons) element.setAttribute("aria-pressed", option === value);
	}
}

/** Return a field for a number; `onChange(number)` is called for each valid input. */
export function numberField(label, onChange, attributes) {
	const control = h("input", { type: "number", step: "any", ...attributes, oninput: () => control.value && control.validity.valid && onChange(control.valueAsNumber) });
	return new Field(label, control, (value) => roundTo(value));
}

export function sliderField(label, onChange, attributes) {
	const control = h("input", { type: "range", ...attributes, oninput: () => onChange(control.valueAsNumber) });
	return new Field(label, control);
}

/** Return a field for a time such as `1:02.5`; `onChange(seconds)`. */
export function timeField(label, onChange) {
	const onchange = () => {
		const seconds = parseTimecode(control.value);
		control.setCustomValidity(seconds === null ? "Write a time as 1:02.5 or 62.5." : "");
		if (control.reportValidity()) onChange(seconds);
	};
	const control = h("input.timecode", { inputmode: "decimal", onchange });
	return new Field(label, control, (value) => formatTimecode(value, 3));
}

export function textField(label, onChange, attributes) {
	const control = h(attributes.rows ? "textarea" : "input", { dir: "auto", ...attributes, oninput: () => onChange?.(control.value) });
	return new Field(label, control);
}

export function colorField(label, onChange) {
	const control = h("input", { type: "color", oninput: () => onChange(control.value) });
	return new Field(label, control);
}

/** Return a choice; `options` are `[value, label]`. */
export function selectField(label, options, onChange) {
	const control = h("select", { onchange: () => onChange(control.value) }, options.map(([value, text]) => h("option", { value }, text)));
	return new Field(label, control);
}

export function checkField(label, onChange, isOn = false) {
	return new CheckField(label, onChange, isOn);
}

/** Return a row of buttons of which one is pressed; `options` are `[value, label]`. */
export function segmentedField(label, options, onChange) {
	return new SegmentedField(label, options, onChange);
}
