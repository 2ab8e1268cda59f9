/** Players for the result of an export and for its source. */

import { h } from "./dom.js";
import { formatBytes, formatDuration } from "./format.js";

/** Return the path of an upload's route; keys contain slashes. */
export function uploadPath(key, action) {
	return `/api/uploads/${key.split("/").map(encodeURIComponent).join("/")}/${action}`;
}

export async function sourceUrl(client, key) {
	return (await client.request("POST", uploadPath(key, "download-url"), { body: { disposition: "inline" } })).url;
}

/** Put players of result and source into `place`, as far as there are files. */
export async function loadPlayers(client, job, place) {
	const players = [
		job.status === "complete" && loadPlayer("Result", () => client.downloadUrl(job.job_id, { disposition: "inline" }).then(({ url }) => url), describeOutput(job.output)),
		loadPlayer("Source", () => sourceUrl(client, job.input_key), ""),
	];
	const figures = await Promise.all(players.filter(Boolean));
	place.replaceChildren(...figures.filter(Boolean));
}

async function loadPlayer(title, loadUrl, facts) {
	let url;
	try {
		url = await loadUrl();
	} catch (problem) {
		return h("figure", {}, h("figcaption", {}, title), h("p", { class: "muted" }, problem.detail ?? problem.message));
	}
	const note = h("p", { class: "muted", hidden: true }, "This browser can't play the file; download it instead.");
	const video = h("video", { src: url, controls: true, playsinline: true, preload: "metadata", "aria-label": title, onerror: () => (note.hidden = false) });
	return h("figure", {}, h("figcaption", {}, h("strong", {}, title), facts && ` ${facts}`), video, note);
}

function describeOutput(output) {
	if (!output) return "";
	return `${output.width}×${output.height}, ${formatDuration(output.duration)}, ${formatBytes(output.size)}`;
}
