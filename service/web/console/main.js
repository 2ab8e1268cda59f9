/** Start the console: show the page that the address names, and ask for a token where the service wants one. */

import { createClient } from "/framehook.js";
import { button, h, replaceChildren, setAttributes, setText } from "./dom.js";
import { ExportStore } from "./export_store.js";
import { Messages } from "./messages.js";

const TOKEN = "framehook.token";
/** Addresses, the titles of their pages, and the modules of these. */
const PAGES = [
	[/^#\/exports\/([^/]+)$/, "Export", "detail"],
	[/^#\/new$/, "New export", "new"],
	[/^#\/webhooks(?:\/([^/]+))?$/, "Webhooks", "webhooks"],
	[/^#\/uploads$/, "Uploads", "uploads"],
	[/^#\/system$/, "System", "system"],
	[/^#\/batches\/([^/]+)$/, "Exports", "list"],
	[/^/, "Exports", "list"],
];

class App {
	#main = document.querySelector("#main");
	#connection = document.querySelector("#connection");
	messages = new Messages();
	#page = null;
	#opening = null;

	constructor() {
		addEventListener("hashchange", () => this.#open());
		addEventListener("dragover", (event) => this.#receiveDrag(event));
		addEventListener("drop", (event) => this.#receiveDrag(event));
		addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
	}

	say(text, href) {
		this.messages.say(text, href);
	}

	/** Say why a call failed, in the sentence of the service. */
	sayProblem(problem) {
		if (problem.status === 401) this.#askForToken(problem);
		else this.say(problem.message);
	}

	/** Call a route below `/api`; `more` has `query`, `body` and `headers`. */
	call(method, path, more) {
		return this.client.request(method, `/api${path}`, more);
	}

	/** Return what the call returns; say what goes wrong. */
	run(call) {
		return call().catch((problem) => this.sayProblem(problem));
	}

	/** Return a button that calls the service and is disabled meanwhile. */
	button(label, call, attributes) {
		const element = button(label, async () => {
			element.disabled = true;
			await this.run(call);
			element.disabled = false;
		}, attributes);
		return element;
	}

	/** Open the console with the token of this session, if there is one; a cookie is the browser's business. */
	start() {
		this.token = sessionStorage.getItem(TOKEN);
		this.client = createClient(this.token ? { token: this.token } : {});
		const signOut = document.querySelector("#sign-out");
		signOut.hidden = !this.token;
		signOut.onclick = () => {
			sessionStorage.removeItem(TOKEN);
			location.reload();
		};
		this.store = new ExportStore(this.client, {
			onConnection: (connection) => this.#showConnection(connection),
			onEnd: (job) => this.messages.announceEnd(job, this.client),
			onProblem: (problem) => this.sayProblem(problem),
			onProgress: () => this.#showTitle(),
		});
		this.store.start();
		return this.#open();
	}

	/** Upload a file on the page for new exports. */
	openFile(file) {
		this.file = file;
		if (location.hash === "#/new") this.#open();
		else location.hash = "#/new";
	}

	async #open() {
		if (!this.store) return;
		const { hash } = location;
		const [pattern, title, file] = PAGES.find(([address]) => address.test(hash));
		const opening = (this.#opening = { title });
		const { default: Page } = await import(`./${file}_page.js`);
		if (opening !== this.#opening) return;
		this.#page?.close?.();
		this.#page = (file === "new" && this.uploadPage) || new Page(this, decodeURIComponent(pattern.exec(hash)[1] ?? ""));
		for (const link of document.querySelectorAll("nav a")) setAttributes(link, { "aria-current": link.textContent.startsWith(title) && "page" });
		replaceChildren(this.#main, this.#page);
		this.#showTitle();
		scrollTo(0, 0);
		try {
			await this.#page.start();
		} catch (problem) {
			if (problem.status === 401) this.#askForToken(problem);
			else if (opening === this.#opening) replaceChildren(this.#page.element, h("h1", title), h("p.problem", { role: "alert" }, problem.message), h("a", { href: "#/" }, "All exports"));
		}
	}

	#showTitle() {
		const progress = this.store?.progress ?? null;
		const title = `${progress === null ? "" : `${Math.floor(progress)} % · `}${this.#opening.title} · Framehook`;
		if (document.title !== title) document.title = title;
	}

	#showConnection({ state, transport, problem }) {
		const isOpen = state === "open";
		setText(this.#connection, isOpen ? (transport === "websocket" ? "Live" : `Live (${transport})`) : "Reconnecting …");
		this.#connection.title = problem?.message ?? "";
		this.#connection.className = `connection ${isOpen ? "complete" : "error"}`;
	}

	async #askForToken({ message }) {
		if (!this.store) return;
		this.store.close();
		this.store = null;
		this.client.close();
		const { SignInPage } = await import("./sign_in_page.js");
		const page = new SignInPage(this.token && message, (token) => {
			sessionStorage.setItem(TOKEN, token);
			this.start();
		});
		replaceChildren(this.#main, page);
		page.start();
	}

	#receiveDrag(event) {
		if (!event.dataTransfer.types.includes("Files")) return;
		event.preventDefault();
		document.body.classList.toggle("over", event.type === "dragover");
		if (event.type === "drop" && this.store) this.openFile(event.dataTransfer.files[0]);
	}
}

await new App().start();
