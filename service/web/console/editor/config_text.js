/** The config as JSON, editable both ways. */

import { h } from "../dom.js";

/** Return the config as readable JSON; short objects stay on one line. */
export function formatConfig(config) {
	const text = JSON.stringify(config, null, 2);
	return text.replace(/\{\n\s+("[^{}[\]]{1,140}?)\n\s+\}/g, (_match, inner) => `{ ${inner.replace(/\n\s+/g, " ")} }`);
}

/**
 * A text area with the config.
 *
 * `onChange(config)` is called with every text that is a JSON object; any other has the reason shown, and null instead.
 */
export class ConfigText {
	constructor(onChange) {
		this.problem = h("p", { class: "problem", role: "status", id: "config-problem" });
		this.area = h("textarea", {
			class: "code",
			spellcheck: "false",
			autocomplete: "off",
			"aria-label": "Config as JSON",
			"aria-describedby": "config-problem",
			oninput: () => this.#read(onChange),
			onblur: () => this.problem.textContent || this.show(this.config),
		});
		this.element = h("div", { class: "config-text" }, this.area, this.problem);
	}

	show(config) {
		this.config = config;
		if (document.activeElement === this.area) return;
		this.area.value = formatConfig(config);
		this.showProblem(null);
	}

	/** Show what is wrong with the config; null clears it. */
	showProblem(text) {
		this.problem.textContent = text ?? "";
		this.area.setAttribute("aria-invalid", String(Boolean(text)));
	}

	#read(onChange) {
		let config;
		try {
			config = JSON.parse(this.area.value);
		} catch (error) {
			this.showProblem(`This is no JSON yet: ${error.message}`);
			return onChange(null);
		}
		const isObject = typeof config === "object" && config !== null && !Array.isArray(config);
		this.showProblem(isObject ? null : "The config is a JSON object.");
		return onChange(isObject ? config : null);
	}
}
