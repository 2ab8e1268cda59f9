/** Start the console: sign in if the service asks for it, then show the page that the address names. */

import { createClient } from "/framehook.js";
import { h, replaceChildren, setText } from "./dom.js";
import { DetailPage } from "./detail_page.js";
import { ExportStore } from "./export_store.js";
import { ListPage } from "./list_page.js";
import { Messages } from "./messages.js";
import { SignInPage } from "./sign_in_page.js";

const TOKEN = "framehook.token";
const PAGES = [
	{ pattern: /^#\/?$/, name: "exports", title: "Exports", open: (app) => new ListPage(app) },
	{ pattern: /^#\/exports\/([^/]+)$/, name: "exports", title: "Export", open: (app, id) => new DetailPage(app, decodeURIComponent(id)) },
	{ pattern: /^#\/new$/, name: "new", title: "New export", open: (app) => importPage(app, "./new_page.js", "NewPage") },
	{ pattern: /^#\/webhooks(?:\/([^/]+))?$/, name: "webhooks", title: "Webhooks", open: (app, id) => importPage(app, "./webhooks_page.js", "WebhooksPage", id) },
	{ pattern: /^#\/system$/, name: "system", title: "System", open: (app) => importPage(app, "./system_page.js", "SystemPage") },
];

class App {
	#page = null;
	#opening = 0;
	#title = "";

	constructor() {
		this.main = document.querySelector("#main");
		this.messages = new Messages(document.querySelector("#messages"));
		this.signOut = document.querySelector("#sign-out");
		this.signOut.addEventListener("click", () => this.#leave());
		addEventListener("hashchange", () => this.#open());
	}

	/** Whether calls carry a token that was pasted here; a cookie is the browser's business. */
	get isSignedIn() {
		return sessionStorage.getItem(TOKEN) !== null;
	}

	say(text, action) {
		this.messages.say(text, action);
	}

	/** Say why a call failed, in the sentence of the service. */
	sayProblem(problem) {
		if (problem.status === 401) this.#askForToken(problem.detail);
		else this.messages.say(problem.detail ?? problem.message);
	}

	/** Open the console with the token of this session, or ask for one. */
	async start() {
		const token = sessionStorage.getItem(TOKEN);
		this.client = createClient(token === null ? {} : { token });
		try {
			await this.client.list({ limit: 1 });
		} catch (problem) {
			if (problem.status === 401) return this.#askForToken(token === null ? "" : problem.detail);
			this.messages.say(`${problem.detail ?? problem.message} The page tries again when you reload it.`);
		}
		this.signOut.hidden = !this.isSignedIn;
		this.store = new ExportStore(this.client, {
			onConnection: (connection) => this.#showConnection(connection),
			onEnd: (job) => this.messages.announceEnd(job, this.client),
			onProblem: (problem) => this.sayProblem(problem),
			onProgress: () => this.#showTitle(),
		});
		await this.store.start();
		return this.#open();
	}

	async #open() {
		if (!this.store) return;
		const opening = (this.#opening += 1);
		const page = PAGES.find(({ pattern }) => pattern.test(location.hash || "#/")) ?? PAGES[0];
		const [, argument] = page.pattern.exec(location.hash || "#/") ?? [];
		this.#page?.close?.();
		this.#page = null;
		const opened = await page.open(this, argument);
		if (opening !== this.#opening) return opened.close?.();
		this.#page = opened;
		this.#title = page.title;
		for (const link of document.querySelectorAll("nav a")) {
			if (link.dataset.page === page.name) link.setAttribute("aria-current", "page");
			else link.removeAttribute("aria-current");
		}
		replaceChildren(this.main, this.#page.element);
		this.#showTitle();
		scrollTo(0, 0);
		return this.#page.start?.();
	}

	#showTitle() {
		const { progress } = this.store;
		const state = progress !== null ? `${Math.floor(progress)} % · ` : "";
		const title = `${state}${this.#title} · Framehook`;
		if (document.title !== title) document.title = title;
	}

	#showConnection({ state, transport, problem }) {
		const element = document.querySelector("#connection");
		const names = { websocket: "Live", events: "Live (events)", polling: "Live (polling)", tab: "Live (other tab)" };
		setText(element, state === "open" ? names[transport] : "Reconnecting …");
		element.title = problem?.detail ?? "";
		element.className = `connection ${state === "open" ? "live" : "lost"}`;
	}

	#askForToken(detail) {
		this.store?.close();
		this.store = null;
		this.client.close();
		const page = new SignInPage(detail, (token) => {
			sessionStorage.setItem(TOKEN, token);
			replaceChildren(this.main, h("p", { class: "muted" }, "Signing in …"));
			this.start();
		});
		replaceChildren(this.main, page.element);
		page.start();
	}

	#leave() {
		sessionStorage.removeItem(TOKEN);
		location.reload();
	}
}

async function importPage(app, module, name, argument) {
	const pages = await import(module);
	return new pages[name](app, argument);
}

await new App().start();
