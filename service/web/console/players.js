/** Players for the result of an export and for its source. */

import { h, replaceChildren } from "./dom.js";
import { describeOutput } from "./words.js";

const DRAFT = "framehook.draft";

/** Keep what the page for new exports shows, `{key, name, type?, config?, options?}`, for this tab's session; null forgets it. */
export function saveDraft(draft) {
	sessionStorage.setItem(DRAFT, JSON.stringify(draft));
}

export function loadDraft() {
	return JSON.parse(sessionStorage.getItem(DRAFT));
}

/** Return the path of an upload's route; keys contain slashes. */
export function uploadPath(key, action = "") {
	return `/uploads/${key.split("/").map(encodeURIComponent).join("/")}${action}`;
}

export async function loadSourceUrl(app, key) {
	return (await app.call("POST", uploadPath(key, "/download-url"), { body: { disposition: "inline" } })).url;
}

/** Put players of result and source into `place`, as far as there are files. */
export async function loadPlayers(app, { job_id, status, output, input_key }, place) {
	const facts = output && ` ${describeOutput(output)}`;
	replaceChildren(
		place,
		await Promise.all([
			status === "complete" && loadPlayer("Result", async () => (await app.client.downloadUrl(job_id, { disposition: "inline" })).url, facts),
			loadPlayer("Source", () => loadSourceUrl(app, input_key)),
		]),
	);
}

async function loadPlayer(title, loadUrl, facts) {
	const caption = h("figcaption", h("strong", title), facts);
	try {
		const note = h("p.muted", { hidden: true }, "This browser can't play the file.");
		const video = h("video", { src: await loadUrl(), controls: true, playsinline: true, "aria-label": title, onerror: () => (note.hidden = false) });
		return h("figure", caption, video, note);
	} catch (problem) {
		return h("figure", caption, h("p.muted", problem.status === 404 ? "The file was deleted." : problem.message));
	}
}
