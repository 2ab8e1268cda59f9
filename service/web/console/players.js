/** Players for the result of an export and for its source. */

import { h, replaceChildren } from "./dom.js";
import { describeOutput } from "./states.js";

/** Return the path of an upload's route; keys contain slashes. */
export function uploadPath(key, action) {
	return `/api/uploads/${key.split("/").map(encodeURIComponent).join("/")}/${action}`;
}

export async function loadSourceUrl(client, key) {
	return (await client.request("POST", uploadPath(key, "download-url"), { body: { disposition: "inline" } })).url;
}

/** Put players of result and source into `place`, as far as there are files. */
export async function loadPlayers(client, { job_id, status, output, input_key }, place) {
	const facts = output && ` ${describeOutput(output)}`;
	replaceChildren(
		place,
		await Promise.all([
			status === "complete" && loadPlayer("Result", async () => (await client.downloadUrl(job_id, { disposition: "inline" })).url, facts),
			loadPlayer("Source", () => loadSourceUrl(client, input_key)),
		]),
	);
}

async function loadPlayer(title, loadUrl, facts) {
	const caption = h("figcaption", h("strong", title), facts);
	try {
		const note = h("p.muted", { hidden: true }, "This browser can't play the file; download it instead.");
		const video = h("video", { src: await loadUrl(), controls: true, playsinline: true, preload: "metadata", "aria-label": title, onerror: () => (note.hidden = false) });
		return h("figure", caption, video, note);
	} catch (problem) {
		return h("figure", caption, h("p.muted", problem.message));
	}
}
