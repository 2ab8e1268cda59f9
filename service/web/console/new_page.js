/** Choose a source and set up an export of it; what is set up survives a reload. */

import { button, h, replaceChildren, setText } from "./dom.js";
import { Editor } from "./editor/editor.js";
import { Options } from "./options.js";
import { loadDraft, loadSourceUrl, saveDraft, uploadPath } from "./players.js";
import { describeOutput, describeTime, formatBytes, formatDollars, hrefOf, join } from "./words.js";

const UPLOADING = "framehook.uploading";
const DEFAULT_FPS = 30;
const PAUSE_MILLISECONDS = 2000;
const ESTIMATE_DELAY_MILLISECONDS = 800;

export default class NewPage {
	#editor = null;
	#upload = null;
	#delay = 0;
	#request = null;
	#settings = {};

	constructor(app) {
		this.app = app;
		this.place = h("div");
		this.change = button("Another video", () => this.#chooseAnother(), { hidden: true });
		this.heading = h("h1", { dir: "auto" }, "New export");
		this.element = h("div.page", h("div.page-head", this.heading, this.change), this.place);
	}

	async start() {
		const { file } = this.app;
		this.app.file = null;
		const draft = loadDraft();
		if (file) await this.#uploadFile(file);
		else if (this.#upload) return;
		else if (draft) await this.#openSource(draft);
		else this.#showDrop();
	}

	/** Leave the page; an upload goes on, and the page is shown again by `app`. */
	close() {
		clearTimeout(this.#delay);
		this.#editor?.close();
	}

	#chooseAnother() {
		saveDraft(null);
		this.#showDrop();
	}

	#showDrop(problem) {
		this.#editor?.close();
		this.change.hidden = true;
		setText(this.heading, "New export");
		const interrupted = sessionStorage.getItem(UPLOADING);
		const input = h("input.visually-hidden", { type: "file", accept: "video/*,.mkv,.ts,.mxf,.mts", id: "file", onchange: () => this.app.run(() => this.#uploadFile(input.files[0])) });
		replaceChildren(
			this.place,
			h(
				"div.drop",
				h("h2", interrupted ? `Choose ${interrupted} again` : "Drop a video here"),
				h("p.muted", interrupted ? "Its upload was interrupted and goes on where it was." : "MP4, MOV, MKV, WebM, AVI, TS and many more."),
				h("div.buttons", h("label.button.primary", { for: "file" }, "Choose a file"), input, button("Try with the sample", () => this.app.run(() => this.#useSample()))),
				h("p.problem", { role: "alert" }, problem),
			),
		);
	}

	#showBusy(text, ...more) {
		const status = h("p", { role: "status", dir: "auto" }, text);
		replaceChildren(this.place, h("div.drop", status, more));
		return status;
	}

	async #uploadFile(file) {
		if (!file) return;
		this.#upload?.abort();
		const upload = (this.#upload = new AbortController());
		const { name } = file;
		this.#editor?.close();
		this.change.hidden = true;
		this.app.uploadPage = this;
		sessionStorage.setItem(UPLOADING, name);
		const bar = h("progress", { value: 0, "aria-label": "Upload" });
		const status = this.#showBusy(`Uploading ${name}`, bar, button("Cancel", () => upload.abort()));
		const onProgress = ({ loaded, total, fraction }) => {
			bar.value = fraction;
			setText(status, `Uploading ${name}: ${formatBytes(loaded)} of ${formatBytes(total)}`);
		};
		const onPause = () => setText(status, `${name} waits for the connection`);
		const [stored, problem] = await this.#send(file, { onProgress, signal: upload.signal }, onPause).then((result) => [result], (error) => [null, error]);
		if (upload !== this.#upload) return; // another file was chosen
		this.#upload = this.app.uploadPage = null;
		sessionStorage.removeItem(UPLOADING);
		if (problem?.status === 401) throw problem;
		if (problem) return this.#showDrop(!upload.signal.aborted && problem.message);
		const draft = { ...this.#settings, key: stored.key, name };
		this.#settings = {};
		saveDraft(draft);
		if (this.element.isConnected) return this.#openSource(draft);
		return this.app.say(`${name} is uploaded.`, "#/new");
	}

	/** Upload; without a network, wait and go on where it was. */
	async #send(file, options, onPause) {
		for (;;) {
			try {
				return await this.app.client.upload(file, options);
			} catch (problem) {
				if (!problem.isNetworkError) throw problem;
				onPause();
				await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
			}
		}
	}

	async #useSample() {
		this.#showBusy("Making the sample video …", h("progress", { "aria-label": "Making the sample" }));
		const response = await fetch("/sample.mp4").catch(() => ({}));
		if (response.ok) await this.#uploadFile(new File([await response.blob()], "sample.mp4", { type: "video/mp4" }));
		else this.#showDrop("The sample video can't be made on this machine.");
	}

	async #openSource({ key, name, type, config, options = { priority: "normal" } }) {
		this.#showBusy(`Reading ${name} …`);
		try {
			const [{ width, height, duration, fps }, url] = await Promise.all([this.app.call("POST", uploadPath(key, "/probe")), loadSourceUrl(this.app, key)]);
			const save = () => {
				saveDraft({ key, name, ...this.#editor.history.state, options: this.options.texts });
				this.#request = null; // its estimate is of no use any more
				clearTimeout(this.#delay);
				this.#delay = setTimeout(() => this.#estimate(), ESTIMATE_DELAY_MILLISECONDS);
			};
			this.change.hidden = false;
			setText(this.heading, name);
			this.options = new Options(save);
			this.options.texts = options;
			this.estimate = h("p.muted", { role: "status" });
			this.#editor = new Editor({
				estimate: this.estimate,
				options: h("details", { open: Boolean(options?.max_cost_usd) }, h("summary", "More: name, order, limits"), this.options),
				source: { key, name, url, width, height, duration, fps: fps || DEFAULT_FPS },
				draft: type && { type, config },
				onChange: save,
				onSubmit: (request) => this.#submit(request),
				say: (text) => this.app.say(text),
				hasToken: Boolean(this.app.token),
			});
			replaceChildren(this.place, this.#editor);
			save();
		} catch (problem) {
			if (problem.status === 401) throw problem;
			saveDraft(null);
			this.#settings = { type, config, options };
			this.#showDrop(problem.status === 404 ? "The video was deleted. Choose another one; the settings are kept for it." : problem.message);
		}
	}

	/** Show what the export would take and become, or why it would fail. */
	async #estimate() {
		const request = (this.#request = this.#editor.request);
		const ask = async () => this.app.call("POST", "/exports/estimate", { body: { ...request, ...this.options.toValues() } });
		const [estimate, problem] = await ask().then((answer) => [answer], (error) => [null, error]);
		if (request !== this.#request || problem?.isTemporary) return;
		setText(this.estimate, estimate ? describeEstimate(estimate) : problem.message);
		this.#editor.judgeTyped(problem?.message);
	}

	async #submit({ type, config }) {
		this.#editor.submit.disabled = true;
		try {
			const job = await this.app.client.export(type, config, this.options.toValues());
			this.app.store.merge([job]);
			location.hash = hrefOf(job);
		} catch (problem) {
			this.#editor.submit.disabled = false;
			this.#editor.showProblem(problem.message);
			this.app.sayProblem(problem);
		}
	}
}

/** Return what an export would take, cost and be, as far as that is known. */
function describeEstimate({ seconds, cost_usd: cost, output }) {
	const price = cost.p50 === 0 ? "free" : cost.p50 && `about ${formatDollars(cost.p50)}`;
	const time = describeTime(seconds.p50, seconds.p90);
	return join(time && `takes ${time}`, price, output.width && describeOutput(output));
}
