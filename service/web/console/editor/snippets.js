/** The export that is set up, as a command or code that starts it from elsewhere. */

import { formatConfig } from "./config_text.js";

const TOKEN_HEADER = `  -H "Authorization: Bearer $FRAMEHOOK_TOKEN" \\\n`;

/** Return the snippets by name; `request` has `type` and `config` with its `input_key`. */
export function createSnippets({ type, config }, { origin, isSignedIn }) {
	const { input_key: _key, ...settings } = config;
	const body = quoteForShell(JSON.stringify({ type, config }, null, 2));
	return {
		curl: `curl ${origin}/api/exports \\\n${isSignedIn ? TOKEN_HEADER : ""}  --json ${body}\n`,
		CLI: `framehook export VIDEO --type ${type} --server ${origin} --watch \\\n  --config ${quoteForShell(formatConfig(settings))} --output export.mp4\n`,
		JavaScript: [
			`import { createClient } from "${origin}/framehook.js";`,
			"",
			`const client = createClient({ baseUrl: "${origin}"${isSignedIn ? ", token: YOUR_TOKEN" : ""} });`,
			`const job = await client.export(${JSON.stringify(type)}, ${formatConfig(config)});`,
			"client.watch(job.job_id, { onChange: console.log });",
			"",
		].join("\n"),
	};
}

function quoteForShell(text) {
	return `'${text.replaceAll("'", `'\\''`)}'`;
}
