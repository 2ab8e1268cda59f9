/** The export that is set up, as a command or code that starts it from elsewhere. */

import { formatConfig } from "./config_text.js";

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
