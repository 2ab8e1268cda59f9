/** Choose a source and set up an export of it; what is set up survives a reload. */

import { h, replaceChildren, setText } from "./dom.js";
import { Editor } from "./editor/editor.js";
import { formatBytes } from "./format.js";
import { sourceUrl, uploadPath } from "./players.js";

const DRAFT = "framehook.draft";
const DEFAULT_FPS = 30;

/** Keep `{key, name, type?, config?}` for this tab's session. */
export function saveDraft(draft) {
	sessionStorage.setItem(DRAFT, JSON.stringify(draft));
}

function loadDraft() {
	try {
		return JSON.parse(sessionStorage.getItem(DRAFT));
	} catch {
		return null;
	}
}

export class NewPage {
	#editor = null;
	#upload = null;

	constructor(app) {
		this.app = app;
		this.place = h("div");
		this.change = h("button", { type: "button", hidden: true, onclick: () => this.#chooseAnother() }, "Another video");
		this.heading = h("h1", { dir: "auto" }, "New export");
		this.element = h("div", { class: "page" }, h("div", { class: "page-head" }, this.heading, this.change), this.place);
	}

	async start() {
		const draft = loadDraft();
		if (draft?.key) await this.#openSource(draft);
		else this.#showDrop();
	}

	close() {
		this.#upload?.abort();
		this.#editor?.close();
	}

	#chooseAnother() {
		sessionStorage.removeItem(DRAFT);
		this.#editor?.close();
		this.#editor = null;
		this.#showDrop();
	}

	#showDrop(problem = "") {
		this.change.hidden = true;
		setText(this.heading, "New export");
		const input = h("input", { type: "file", accept: "video/*,.mkv,.ts,.mxf,.mts", class: "visually-hidden", id: "file", onchange: () => input.files[0] && this.#uploadFile(input.files[0]) });
		const drop = h(
			"div",
			{
				class: "drop",
				ondragover: (event) => {
					event.preventDefault();
					drop.classList.add("over");
				},
				ondragleave: () => drop.classList.remove("over"),
				ondrop: (event) => {
					event.preventDefault();
					if (event.dataTransfer.files[0]) this.#uploadFile(event.dataTransfer.files[0]);
				},
			},
			h("h2", {}, "Drop a video here"),
			h("p", { class: "muted" }, "MP4, MOV, MKV, WebM, AVI, TS and many more. A large file goes on after a cut or a reload when you choose it again."),
			h("div", { class: "buttons" }, h("label", { class: "button primary", for: "file" }, "Choose a file"), input, h("button", { type: "button", onclick: () => this.#useSample() }, "Try with the sample")),
			h("p", { class: "problem", role: "alert" }, problem),
		);
		replaceChildren(this.place, drop);
	}

	async #uploadFile(file) {
		this.#upload = new AbortController();
		const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
		const text = h("p", { role: "status" }, `Uploading ${file.name}`);
		replaceChildren(this.place, h("div", { class: "drop" }, text, bar, h("button", { type: "button", onclick: () => this.#upload.abort() }, "Cancel")));
		const show = ({ loaded, total, fraction }) => {
			bar.value = fraction;
			setText(text, `Uploading ${file.name}: ${formatBytes(loaded)} of ${formatBytes(total)}`);
		};
		try {
			const stored = await this.app.client.upload(file, { onProgress: show, signal: this.#upload.signal });
			await this.#openSource({ key: stored.key, name: file.name });
		} catch (problem) {
			this.#showDrop(problem.name === "AbortError" ? "" : (problem.detail ?? problem.message));
		} finally {
			this.#upload = null;
		}
	}

	async #useSample() {
		replaceChildren(this.place, h("div", { class: "drop" }, h("p", { role: "status" }, "Making the sample video …"), h("progress", { "aria-label": "Making the sample" })));
		try {
			await this.#uploadFile(await fetchSample());
		} catch (problem) {
			this.#showDrop(problem.detail ?? problem.message);
		}
	}

	async #openSource(draft) {
		replaceChildren(this.place, h("div", { class: "drop" }, h("p", { role: "status" }, `Reading ${draft.name} …`)));
		let source;
		try {
			source = await this.#loadSource(draft);
		} catch (problem) {
			sessionStorage.removeItem(DRAFT);
			this.#showDrop(problem.detail ?? problem.message);
			return;
		}
		saveDraft(draft);
		this.change.hidden = false;
		setText(this.heading, source.name);
		this.#editor = new Editor({
			source,
			draft: draft.type && { type: draft.type, config: draft.config },
			onChange: ({ type, config }) => saveDraft({ key: draft.key, name: draft.name, type, config }),
			onSubmit: (request) => this.#submit(request),
			say: (text) => this.app.say(text),
			context: { origin: location.origin, isSignedIn: this.app.isSignedIn },
		});
		replaceChildren(this.place, this.#editor.element);
	}

	async #loadSource({ key, name }) {
		const [probe, url] = await Promise.all([this.app.client.request("POST", uploadPath(key, "probe")), sourceUrl(this.app.client, key)]);
		const { width, height, duration, fps } = probe;
		return { key, name, url, width, height, duration, fps: fps || DEFAULT_FPS };
	}

	async #submit({ type, config }) {
		this.#editor.submit.disabled = true;
		try {
			const job = await this.app.client.export(type, config);
			this.app.store.merge([job]);
			location.hash = `#/exports/${encodeURIComponent(job.job_id)}`;
		} catch (problem) {
			if (problem.status === 401) this.app.sayProblem(problem);
			else {
				this.#editor.showProblem(problem.detail ?? problem.message);
				this.app.say(problem.detail ?? problem.message);
			}
			this.#editor.submit.disabled = false;
		}
	}
}

async function fetchSample() {
	const response = await fetch("/sample.mp4");
	if (!response.ok) throw new Error("The sample video can't be made on this machine.");
	return new File([await response.blob()], "sample.mp4", { type: "video/mp4" });
}
