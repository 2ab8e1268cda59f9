/** The list of exports, with what ended while the user was away and the newest result on top. */

import { button, h, replaceChildren, setText } from "./dom.js";
import { checkField, selectField, textField } from "./editor/fields.js";
import { formatAgo, formatMoment } from "./format.js";
import { loadPlayers } from "./players.js";
import { STATUSES, TYPES, describeState, hrefOf, isActive, nameOf } from "./states.js";
import { WindowList } from "./window_list.js";

const PAGE_SIZE = 100;
const FILTER_DELAY_MILLISECONDS = 250;
const MAX_AWAY = 10;

export class ListPage {
	#query = { filter: {}, oldest: null };
	#delay = 0;

	constructor(app) {
		this.app = app;
		this.list = new WindowList({ label: "Exports", keyOf: (job) => job.job_id, create: createRow, update: updateRow, onEnd: () => this.#load() });
		this.away = h("section.panel", { hidden: true, "aria-label": "Finished while you were away" });
		this.newest = h("section.page", { hidden: true, "aria-label": "The newest result" });
		this.empty = h("div.drop", { hidden: true });
		this.problem = h("p.problem", { role: "alert" });
		this.count = h("span.muted", { role: "status" });
		this.element = h("div.page", this.#createHead(), this.away, this.newest, this.#createFilters(), this.problem, this.list, this.empty);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	start() {
		return this.#load();
	}

	close() {
		this.unsubscribe();
		this.list.close();
		clearTimeout(this.#delay);
	}

	#createHead() {
		const { messages } = this.app;
		const notify = checkField("Notify me of results", async (isOn) => {
			await messages.switchNotifications(isOn);
			notify.show(messages.areNotificationsOn);
		});
		notify.show(messages.areNotificationsOn);
		notify.element.hidden = !("Notification" in window);
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
			selectField("Type", [["", "Any"], ...Object.entries(TYPES)], put("type")),
			textField("Project", put("projectId"), { maxlength: 200 }),
			textField("Metadata", put("metadata"), { placeholder: "order=A-1024" }),
		];
		return h("search.filters", filters);
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
			const { metadata, ...filter } = query.filter;
			// `list` would change capital letters in the key.
			const path = `/api/exports?${new URLSearchParams(entriesOf(metadata).map(([key, value]) => [`metadata.${key}`, value]))}`;
			const { exports: jobs, next_cursor: cursor } = await this.app.client.request("GET", path, { query: { ...filter, limit: PAGE_SIZE, cursor: query.cursor } });
			Object.assign(query, { cursor, isComplete: cursor === null, oldest: jobs.at(-1) ?? query.oldest });
			if (query !== this.#query) return;
			replaceChildren(this.problem);
			this.app.store.merge(jobs);
			this.#showNewest(jobs);
		} catch (problem) {
			if (problem.status === 401) throw problem;
			query.isComplete = true;
			if (query === this.#query) replaceChildren(this.problem, problem.message, " ", button("Try again", () => this.#reload()));
		}
		query.isLoading = false;
		this.#show();
	}

	#show() {
		const { filter, oldest, isComplete } = this.#query;
		const { store } = this.app;
		const isFiltered = Object.values(filter).some(Boolean);
		// What lies beyond the last loaded page is shown when that page comes.
		const loaded = isComplete ? store.jobs : store.jobs.slice(0, oldest ? store.findIndex(oldest) + 1 : 0);
		const jobs = isFiltered ? loaded.filter((job) => matches(job, filter)) : loaded;
		this.list.show(jobs);
		setText(this.count, jobs.length === 1 ? "1 export" : `${jobs.length}${isComplete ? "" : "+"} exports`);
		const isEmpty = Boolean(isComplete && jobs.length === 0 && !this.problem.textContent);
		if (isEmpty && this.empty.hidden) this.#showEmpty(isFiltered);
		this.list.element.hidden = isEmpty;
		this.empty.hidden = !isEmpty;
		this.#showAway();
	}

	#showEmpty(isFiltered) {
		const welcome = [h("h2", "No exports yet"), h("p.muted", "Drop a video anywhere on this page, mark what matters, and see it exported."), h("a.button.primary", { href: "#/new" }, "Make the first one")];
		replaceChildren(this.empty, isFiltered ? h("p", "No export matches these filters.") : welcome);
	}

	#showNewest(jobs) {
		const job = jobs.find(({ status }) => status === "complete");
		if (!job || !this.newest.hidden) return;
		const players = h("div.players");
		this.newest.hidden = false;
		replaceChildren(this.newest, h("h2", h("a", { href: hrefOf(job), dir: "auto" }, nameOf(job))), players);
		loadPlayers(this.app.client, job, players);
	}

	#showAway() {
		const { store, client } = this.app;
		const jobs = store.unacknowledged;
		if (jobs === this.shownAway) return;
		this.shownAway = jobs;
		this.away.hidden = jobs.length === 0;
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
			jobs.length > MAX_AWAY && h("p.muted", `and ${jobs.length - MAX_AWAY} more`),
		);
	}
}

function matches(job, { status, type, projectId, metadata }) {
	return (
		(!status || job.status === status) &&
		(!type || job.type === type) &&
		(!projectId || String(job.project_id) === projectId) &&
		entriesOf(metadata).every(([key, value]) => String(job.metadata[key]) === value)
	);
}

/** Return the condition in a text such as `order=A-1024`; none while it is being typed. */
function entriesOf(text = "") {
	const at = text.indexOf("=");
	return at > 0 ? [[text.slice(0, at).trim(), text.slice(at + 1).trim()]] : [];
}

function createRow() {
	const parts = {
		badge: h("span"),
		name: h("strong", { dir: "auto" }),
		text: h("span.muted", { dir: "auto" }),
		bar: h("progress", { max: 100, "aria-label": "Progress" }),
		type: h("span.type"),
		when: h("time.muted"),
	};
	const { badge, name, text, bar, type, when } = parts;
	const link = h("a.row", badge, name, h("span.state", text, bar), type, when);
	return Object.assign(h("div.row-place", { role: "listitem" }, link), { parts, link });
}

function updateRow(element, job) {
	if (element.job === job) return;
	element.job = job;
	const { badge, name, text, bar, type, when } = element.parts;
	element.link.href = hrefOf(job);
	badge.className = `badge ${job.status}`;
	setText(badge, STATUSES[job.status]);
	setText(name, nameOf(job));
	setText(text, describeState(job));
	bar.hidden = !isActive(job);
	bar.value = job.progress;
	setText(type, TYPES[job.type] ?? job.type);
	setText(when, formatAgo(job.created_at));
	when.title = formatMoment(job.created_at);
}
