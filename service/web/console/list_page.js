/** The list of exports, with what ended while the user was away on top. */

import { TYPES as TYPE_NAMES } from "./choices.js";
import { button, h, reconcile, replaceChildren, setText } from "./dom.js";
import { checkField, selectField, textField } from "./editor/fields.js";
import { STATUSES, TYPES, describeState, formatAgo, formatCount, formatMoment, hrefOf, isActive, nameOf } from "./words.js";

const PAGE_SIZE = 50;
const FILTER_DELAY_MILLISECONDS = 250;
const MAX_AWAY = 10;
const SPARE_ROWS = 6;

export default class ListPage {
	#query;
	#delay = 0;

	/** With the id of a batch it shows the exports of the batch. */
	constructor(app, batchId) {
		this.app = app;
		this.batchId = batchId;
		this.#query = { filter: { batchId }, oldest: null };
		this.list = new WindowList({ label: "Exports", keyOf: (job) => job.job_id, create: createRow, update: updateRow, onEnd: () => this.#load() });
		this.away = h("section.panel", { hidden: true });
		this.empty = h("div.drop", { hidden: true });
		this.problem = h("p.problem", { role: "alert" });
		this.count = h("span.muted", { role: "status" });
		this.element = h("div.page", this.#createHead(), this.away, this.#createFilters(), this.problem, this.list, this.empty);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	async start() {
		if (this.batchId) {
			const { BatchPanel } = await import("./batch_panel.js");
			this.panel = new BatchPanel(this.app, this.batchId);
			this.away.before(this.panel.element);
			await this.panel.start();
		}
		await this.#load();
	}

	close() {
		this.unsubscribe();
		this.list.close();
		this.panel?.close();
		clearTimeout(this.#delay);
	}

	#createHead() {
		const { messages } = this.app;
		const notify = checkField("Notify me of results", async (isOn) => {
			await messages.switchNotifications(isOn);
			notify.show(messages.areNotificationsOn);
		});
		notify.show(messages.areNotificationsOn);
		notify.hidden = !("Notification" in window);
		return h("div.page-head", h("h1", "Exports"), h("div.buttons", this.count, notify, h("a.button.primary", { href: "#/new" }, "New export")));
	}

	#createFilters() {
		const put = (name) => (value) => {
			clearTimeout(this.#delay);
			const filter = { ...this.#query.filter, [name]: value || undefined };
			this.#query = { filter, oldest: null, isLoading: true };
			this.#delay = setTimeout(() => this.#reload(), FILTER_DELAY_MILLISECONDS);
		};
		const filters = [
			selectField("Status", [["", "Any"], ...Object.entries(STATUSES)], put("status")),
			selectField("Type", [["", "Any"], ...TYPE_NAMES.map((name) => [name, TYPES[name] ?? name])], put("type")),
			textField("Project", put("projectId"), { maxlength: 200 }),
			textField("Metadata", put("metadata"), { placeholder: "order=A-1024" }),
			textField("Created since", (day) => put("createdAfter")(day && new Date(`${day}T00:00`).toISOString()), { type: "date" }),
		];
		const change = (label, name) => this.app.button(label, () => this.#changeAll(label, name));
		this.bulk = h("div.buttons", { hidden: true }, change("Cancel all of these", "cancel"), change("Try all of these again", "retry"));
		return [h("search.filters", filters), this.bulk];
	}

	async #changeAll(label, name) {
		const { status, type, projectId, metadata, createdAfter } = this.#query.filter;
		if (!confirm(`${label}? That is every export that meets the filters.`)) return;
		const body = { status: status && [status], type: type && [type], project_id: projectId, metadata: Object.fromEntries(entriesOf(metadata)), created_after: createdAfter };
		do body.cursor = (await this.app.call("POST", `/exports/${name}`, { body })).next_cursor;
		while (body.cursor);
		await this.#reload();
	}

	#reload() {
		this.#query = { filter: this.#query.filter, oldest: null };
		return this.#load();
	}

	async #load() {
		const query = this.#query;
		if (query.isLoading || query.isComplete) return;
		query.isLoading = true;
		try {
			const { exports: jobs, next_cursor: cursor } = (await this.#takeFirst()) ?? (await this.#loadPage(query));
			Object.assign(query, { cursor, isComplete: cursor === null, oldest: jobs.at(-1) ?? query.oldest });
			if (query !== this.#query) return;
			replaceChildren(this.problem);
			this.app.store.merge(jobs);
		} catch (problem) {
			if (problem.status === 401) throw problem;
			query.isComplete = true;
			if (query === this.#query) replaceChildren(this.problem, problem.message, " ", button("Try again", () => this.#reload()));
		}
		query.isLoading = false;
		this.#show();
	}

	/** Return what was asked for before this page was here, once. */
	#takeFirst() {
		const { firstList } = this.app;
		this.app.firstList = null;
		return this.batchId ? null : firstList;
	}

	#loadPage({ filter: { metadata, ...filter }, cursor }) {
		// `list` would change capital letters in the key.
		const path = `/exports?${new URLSearchParams(entriesOf(metadata).map(([key, value]) => [`metadata.${key}`, value]))}`;
		return this.app.call("GET", path, { query: { ...filter, batchId: this.batchId || undefined, limit: PAGE_SIZE, cursor } });
	}

	#show() {
		const { filter, oldest, isComplete } = this.#query;
		const { store } = this.app;
		const isFiltered = Object.values(filter).some(Boolean);
		// What lies beyond the last loaded page is shown when that page comes.
		const loaded = isComplete ? store.jobs : store.jobs.slice(0, oldest ? store.findIndex(oldest) + 1 : 0);
		const jobs = isFiltered ? loaded.filter((job) => matches(job, filter)) : loaded;
		this.list.show(jobs);
		this.bulk.hidden = !isFiltered || Boolean(this.batchId) || jobs.length === 0;
		setText(this.count, isComplete ? formatCount(jobs.length, "export") : `${jobs.length}+ exports`);
		const isEmpty = Boolean(isComplete && jobs.length === 0 && !this.problem.textContent);
		if (isEmpty && this.empty.hidden) this.#showEmpty(isFiltered);
		this.list.element.hidden = isEmpty;
		this.empty.hidden = !isEmpty;
		this.#showAway();
	}

	#showEmpty(isFiltered) {
		const welcome = [h("h2", "No exports yet"), h("p.muted", "Drop a video anywhere on this page."), h("a.button.primary", { href: "#/new" }, "Make the first one")];
		replaceChildren(this.empty, isFiltered ? h("p", "No export matches these filters.") : welcome);
	}

	#showAway() {
		const { store, client } = this.app;
		const jobs = store.unacknowledged;
		if (jobs === this.shownAway) return;
		this.shownAway = jobs;
		this.away.hidden = jobs.length === 0 || Boolean(this.batchId);
		const items = jobs.slice(0, MAX_AWAY).map((job) => h("li", h("a", { href: hrefOf(job), dir: "auto" }, nameOf(job)), ` – ${describeState(job)}`));
		const dismiss = () => {
			store.unacknowledged = [];
			this.#showAway();
			this.app.run(() => client.acknowledge(jobs.map((job) => job.job_id)));
		};
		replaceChildren(
			this.away,
			h("div.page-head", h("h2", `${jobs.length} finished while you were away`), button("Got it", dismiss)),
			h("ul", items),
		);
	}
}

function matches(job, { batchId, status, type, projectId, metadata, createdAfter = "" }) {
	return (
		(!batchId || job.batch_id === batchId) &&
		(!status || job.status === status) &&
		(!type || job.type === type) &&
		(!projectId || String(job.project_id) === projectId) &&
		job.created_at >= createdAfter &&
		entriesOf(metadata).every(([key, value]) => String(job.metadata[key]) === value)
	);
}

/** Return the condition in a text such as `order=A-1024`; none while it is being typed. */
function entriesOf(text = "") {
	const at = text.indexOf("=");
	return at > 0 ? [[text.slice(0, at).trim(), text.slice(at + 1).trim()]] : [];
}

function createRow() {
	const parts = [h("span"), h("strong", { dir: "auto" }), h("span.muted", { dir: "auto" }), h("progress", { max: 100, "aria-label": "Progress" }), h("span.type"), h("time.muted")];
	const [badge, name, text, bar, type, when] = parts;
	const link = h("a.row", badge, name, h("span.state", text, bar), type, when);
	return Object.assign(h("div.row-place", { role: "listitem" }, link), { parts, link });
}

function updateRow(element, job) {
	if (element.job === job) return;
	element.job = job;
	const [badge, name, text, bar, type, when] = element.parts;
	element.link.href = hrefOf(job);
	badge.className = `badge ${job.status}`;
	setText(badge, STATUSES[job.status]);
	setText(name, nameOf(job));
	setText(text, describeState(job));
	bar.hidden = job.status !== "processing";
	bar.value = job.progress;
	setText(type, TYPES[job.type] ?? job.type);
	showTime(when, job.created_at);
}

/** Fill in a time after the next frame, so that the first rows do not wait for the formats of the language. */
function showTime(element, time) {
	const fill = () => {
		setText(element, formatAgo(time));
		element.title = formatMoment(time);
	};
	requestAnimationFrame(() => setTimeout(fill));
}

/** A list of any length of which only the rows in sight are in the page. */
export class WindowList {
	#items = [];
	#frame = 0;

	/** `keyOf(item)`, `create(item)`, `update(element, item)`; `onEnd()` is called when the last rows come in sight. */
	constructor({ label, ...options }) {
		Object.assign(this, options);
		this.space = h("div", { role: "list" });
		this.element = h("div.list", { tabindex: 0, role: "region", "aria-label": label, onscroll: () => this.#schedule() }, this.space);
		this.resizing = new ResizeObserver(() => this.#schedule());
		this.resizing.observe(this.element);
	}

	show(items) {
		this.#items = items;
		this.#draw();
	}

	close() {
		this.resizing.disconnect();
		cancelAnimationFrame(this.#frame);
	}

	#schedule() {
		this.#frame ||= requestAnimationFrame(() => this.#draw());
	}

	#draw() {
		this.#frame = 0;
		const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row"));
		const { scrollTop, clientHeight } = this.element;
		const first = Math.max(0, Math.floor(scrollTop / height) - SPARE_ROWS);
		const last = Math.ceil((scrollTop + (clientHeight || 600)) / height) + SPARE_ROWS;
		this.space.style.blockSize = `${this.#items.length * height}px`;
		let top = first * height;
		reconcile(this.space, this.#items.slice(first, last), this.keyOf, this.create, (element, item) => {
			element.style.insetBlockStart = `${top}px`;
			top += height;
			this.update(element, item);
		});
		if (last >= this.#items.length) this.onEnd();
	}
}
