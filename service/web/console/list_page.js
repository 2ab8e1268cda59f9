/** The list of exports, with what ended while the user was away and the newest result on top. */

import { h, replaceChildren, setText } from "./dom.js";
import { checkField, selectField, textField } from "./editor/fields.js";
import { formatAgo, formatMoment } from "./format.js";
import { loadPlayers } from "./players.js";
import { STATUSES, describeState, describeStatus, describeType, isActive, nameOf } from "./states.js";
import { WindowList } from "./window_list.js";

const PAGE_SIZE = 100;
const FILTER_DELAY_MILLISECONDS = 250;

export class ListPage {
	#filter = {};
	#cursor = undefined;
	#isLoading = false;
	#isComplete = false;
	#ids = new Set();
	#generation = 0;
	#delay = 0;

	constructor(app) {
		this.app = app;
		this.list = new WindowList({
			label: "Exports",
			keyOf: (job) => job.job_id,
			create: () => createRow(),
			update: updateRow,
			onEnd: () => this.#load(),
		});
		this.away = h("section", { class: "panel", hidden: true, "aria-label": "Finished while you were away" });
		this.hero = h("section", { hidden: true, "aria-label": "The newest result" });
		this.empty = h("div", { class: "drop", hidden: true });
		this.problem = h("p", { class: "problem", role: "alert" });
		this.count = h("span", { class: "muted", role: "status" });
		this.element = h("div", { class: "page" }, this.#createHead(), this.away, this.hero, this.#createFilters(), this.problem, this.list.element, this.empty);
		this.unsubscribe = app.store.subscribe(() => this.#show());
	}

	start() {
		this.#showAway();
		return this.#load();
	}

	close() {
		this.unsubscribe();
		this.list.close();
		clearTimeout(this.#delay);
	}

	#createHead() {
		const notify = checkField("Notify me", async (isOn) => notify.show(await this.app.messages.switchNotifications(isOn)));
		notify.show(this.app.messages.areNotificationsOn);
		notify.element.hidden = !("Notification" in window);
		return h("div", { class: "page-head" }, h("h1", {}, "Exports"), h("div", { class: "buttons" }, this.count, notify.element, h("a", { class: "button primary", href: "#/new" }, "New export")));
	}

	#createFilters() {
		const put = (name) => (value) => {
			this.#filter = { ...this.#filter, [name]: value || undefined };
			clearTimeout(this.#delay);
			this.#delay = setTimeout(() => this.#reload(), FILTER_DELAY_MILLISECONDS);
		};
		const status = selectField("Status", [["", "Any"], ...STATUSES], put("status"));
		const type = selectField("Type", [["", "Any"], ["framing", "Framing"], ["overlay", "Overlay"], ["annotate", "Annotate"]], put("type"));
		const project = textField("Project", put("projectId"), { maxlength: 200 });
		return h("form", { class: "filters", role: "search", "aria-label": "Filter exports", onsubmit: (event) => event.preventDefault() }, status.element, type.element, project.element);
	}

	#reload() {
		this.#generation += 1;
		this.#cursor = undefined;
		this.#isComplete = this.#isLoading = false;
		this.#ids.clear();
		return this.#load();
	}

	async #load() {
		if (this.#isLoading || this.#isComplete) return;
		this.#isLoading = true;
		const generation = this.#generation;
		try {
			const page = await this.app.client.list({ ...this.#filter, limit: PAGE_SIZE, cursor: this.#cursor });
			if (generation !== this.#generation) return;
			this.problem.textContent = "";
			this.#cursor = page.next_cursor;
			this.#isComplete = page.next_cursor === null;
			for (const job of page.exports) this.#ids.add(job.job_id);
			this.app.store.merge(page.exports);
			this.#showHero(page.exports);
		} catch (problem) {
			if (generation !== this.#generation) return;
			this.#isComplete = true;
			if (problem.status === 401) this.app.sayProblem(problem);
			else replaceChildren(this.problem, problem.detail ?? problem.message, " ", h("button", { type: "button", onclick: () => this.#reload() }, "Try again"));
		}
		this.#isLoading = false;
		this.#show();
	}

	#show() {
		const jobs = [...this.app.store.jobs].filter((job) => this.#matches(job)).sort(newestFirst);
		// What lies beyond the last loaded page is shown when that page comes.
		const last = jobs.findLastIndex((job) => this.#ids.has(job.job_id));
		const shown = this.#isComplete ? jobs : jobs.slice(0, last + 1);
		this.list.show(shown);
		setText(this.count, shown.length === 1 ? "1 export" : `${shown.length}${this.#isComplete ? "" : "+"} exports`);
		const isEmpty = this.#isComplete && shown.length === 0 && !this.problem.textContent;
		this.list.element.hidden = isEmpty;
		this.empty.hidden = !isEmpty;
		if (isEmpty) this.#showEmpty();
	}

	#showEmpty() {
		const isFiltered = Object.values(this.#filter).some(Boolean);
		replaceChildren(
			this.empty,
			isFiltered
				? h("p", {}, "No export matches these filters.")
				: [h("h2", {}, "No exports yet"), h("p", { class: "muted" }, "Drop a video in, mark what matters, and see it exported."), h("a", { class: "button primary", href: "#/new" }, "Make the first one")],
		);
	}

	#matches(job) {
		const { status, type, projectId } = this.#filter;
		return (!status || job.status === status) && (!type || job.type === type) && (!projectId || String(job.project_id) === projectId);
	}

	#showHero(jobs) {
		const newest = jobs.find((job) => job.status === "complete");
		if (!newest || !this.hero.hidden) return;
		this.hero.hidden = false;
		const players = h("div", { class: "hero" });
		replaceChildren(this.hero, h("h2", {}, h("a", { href: hrefOf(newest), dir: "auto" }, nameOf(newest))), players);
		loadPlayers(this.app.client, newest, players);
	}

	#showAway() {
		const jobs = this.app.store.unacknowledged;
		if (jobs.length === 0) return;
		this.away.hidden = false;
		const items = jobs.slice(0, 10).map((job) => h("li", {}, h("a", { href: hrefOf(job), dir: "auto" }, nameOf(job)), ` – ${describeState(job)}`));
		const dismiss = async () => {
			this.away.hidden = true;
			this.app.store.unacknowledged = [];
			await this.app.client.acknowledge(jobs.map((job) => job.job_id)).catch((problem) => this.app.sayProblem(problem));
		};
		replaceChildren(
			this.away,
			h("div", { class: "page-head" }, h("h2", {}, `${jobs.length} finished while you were away`), h("button", { type: "button", onclick: dismiss }, "Got it")),
			h("ul", {}, items),
			jobs.length > 10 && h("p", { class: "muted" }, `and ${jobs.length - 10} more`),
		);
	}
}

function hrefOf(job) {
	return `#/exports/${encodeURIComponent(job.job_id)}`;
}

function newestFirst(one, other) {
	return one.created_at < other.created_at ? 1 : one.created_at > other.created_at ? -1 : one.job_id < other.job_id ? 1 : -1;
}

function createRow() {
	const parts = {
		badge: h("span", { class: "badge" }),
		name: h("strong", { dir: "auto" }),
		text: h("span", { class: "muted", dir: "auto" }),
		bar: h("progress", { max: 100 }),
		type: h("span", { class: "type" }),
		when: h("time", { class: "when muted" }),
	};
	parts.bar.setAttribute("aria-label", "Progress");
	const link = h("a", { class: "row" }, parts.badge, parts.name, h("span", { class: "state" }, parts.text, parts.bar), parts.type, parts.when);
	const element = h("div", { role: "listitem", class: "row-place" }, link);
	return Object.assign(element, { parts, link });
}

function updateRow(element, job) {
	if (element.job === job) return;
	element.job = job;
	const { badge, name, text, bar, type, when } = element.parts;
	element.link.href = hrefOf(job);
	badge.className = `badge ${job.status}`;
	setText(badge, describeStatus(job.status));
	setText(name, nameOf(job));
	setText(text, isActive(job) || job.error ? describeState(job) : job.message);
	bar.hidden = !isActive(job);
	bar.value = job.progress;
	setText(type, describeType(job.type));
	setText(when, formatAgo(job.created_at));
	when.dateTime = job.created_at;
	when.title = formatMoment(job.created_at);
}
