/** The config as text: as JSON, editable both ways, and as a command or code that starts the export from elsewhere. */

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
			if (isObject) this.config = config;
			return isObject ? config : null;
		} catch (error) {
			this.showProblem(`This is no JSON yet: ${error.message}`);
			return null;
		}
	}
}

/** Return the snippets by name; `config` has its `input_key`. */
export function createSnippets({ type, config }, hasToken) {
	const { origin } = location;
	const { input_key: _key, ...settings } = config;
	const header = hasToken ? `  -H "Authorization: Bearer $FRAMEHOOK_TOKEN" \\\n` : "";
	return {
		curl: `curl ${origin}/api/exports \\\n${header}  --json ${quoteForShell(JSON.stringify({ type, config }, null, 2))}\n`,
		CLI: `framehook export VIDEO --type ${type} --server ${origin} --watch \\\n  --config ${quoteForShell(formatConfig(settings))} --output export.mp4\n`,
		JavaScript: [
			`import { createClient } from "${origin}/framehook.js";\n`,
			`const client = createClient({ baseUrl: "${origin}"${hasToken ? ", token: YOUR_TOKEN" : ""} });`,
			`const job = await client.export(${JSON.stringify(type)}, ${formatConfig(config)});`,
			"client.watch(job.job_id, { onUpdate: console.log });\n",
		].join("\n"),
	};
}

function quoteForShell(text) {
	return `'${text.replaceAll("'", `'\\''`)}'`;
}
