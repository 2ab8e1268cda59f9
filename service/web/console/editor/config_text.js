/** The config as JSON, editable both ways. */

import { h, setAttributes, setText } from "../dom.js";

/** Return the config as readable JSON; short objects stay on one line. */
export function formatConfig(config) {
	return JSON.stringify(config, null, 2).replace(/\{\n\s+("[^{}[\]]{1,140}?)\n\s+\}/g, (_match, inner) => `{ ${inner.replace(/\n\s+/g, " ")} }`);
}

export class ConfigText {
	/** `onChange(config)` is called with every text that is a JSON object; for any other the reason is shown, and it is called with null. */
	constructor(onChange) {
		this.problem = h("p.problem", { role: "status", id: "config-problem" });
		this.area = h("textarea.code", {
			spellcheck: "false",
			autocomplete: "off",
			"aria-label": "Config as JSON",
			"aria-describedby": "config-problem",
			oninput: () => onChange(this.#read()),
			onblur: () => this.problem.textContent || this.show(this.config),
		});
		this.element = h("div", this.area, this.problem);
	}

	show(config) {
		this.config = config;
		if (document.activeElement === this.area) return;
		this.area.value = formatConfig(config);
		this.showProblem("");
	}

	/** Show what is wrong with the config; an empty text clears it. */
	showProblem(text) {
		setText(this.problem, text);
		setAttributes(this.area, { "aria-invalid": String(text !== "") });
	}

	#read() {
		try {
			const config = JSON.parse(this.area.value);
			const isObject = config?.constructor === Object;
			this.showProblem(isObject ? "" : "The config is a JSON object.");
			return isObject ? config : null;
		} catch (error) {
			this.showProblem(`This is no JSON yet: ${error.message}`);
			return null;
		}
	}
}
