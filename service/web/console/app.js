/** The console: the page that the address names, and the question for a token where the service wants one. */

import { createClient } from "/framehook.js";
import { Application } from "./application.js";
import { h, replaceChildren, setAttributes, setText } from "./dom.js";
import { ExportStore } from "./export_store.js";

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

export class App extends Application {
	#main = document.querySelector("#main");
	#connection = document.querySelector("#connection");
	#page = null;
	#opening = null;

	/** `tokenName` is where the token of this tab is kept, `firstList` a promise of the first page of the list, or of null. */
	constructor(tokenName, firstList) {
		super();
		Object.assign(this, { tokenName, firstList });
		addEventListener("hashchange", () => this.#open());
		addEventListener("dragover", (event) => this.#receiveDrag(event));
		addEventListener("drop", (event) => this.#receiveDrag(event));
		addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
	}

	/** Open the console with the token of this session, if there is one; a cookie is the browser's business. */
	start() {
		this.token = sessionStorage.getItem(this.tokenName);
		this.client = createClient(this.token ? { token: this.token } : {});
		const signOut = document.querySelector("#sign-out");
		signOut.hidden = !this.token;
		signOut.onclick = () => {
			sessionStorage.removeItem(this.tokenName);
			location.reload();
		};
		this.store = new ExportStore(this.client, {
			onConnection: (connection) => this.#showConnection(connection),
			onEnd: (job) => this.messages.announceEnd(job, this.client),
			onProblem: (problem) => this.sayProblem(problem),
			onProgress: () => this.#showTitle(),
		});
		const opened = this.#open(); // first, so that the list waits for nothing else
		this.store.start();
		return opened;
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
		document.querySelector("[aria-current=page]")?.scrollIntoView({ block: "nearest" }); // in the row of links on a phone
		replaceChildren(this.#main, this.#page);
		this.#showTitle();
		scrollTo(0, 0);
		try {
			await this.#page.start();
		} catch (problem) {
			if (problem.status === 401) this.refuse(problem);
			else if (opening === this.#opening) this.#showFailure(title, problem);
		}
	}

	#showFailure(title, { message }) {
		const [href, label] = title === "Webhooks" ? ["#/webhooks", "All webhooks"] : ["#/", "All exports"];
		replaceChildren(this.#page.element, h("h1", title), h("p.problem", { role: "alert" }, message), h("a", { href }, label));
	}

	#showTitle() {
		const progress = this.store?.progress ?? null;
		const parts = [progress !== null && `${Math.floor(progress)} %`, this.#opening.title, "Framehook"];
		const title = parts.filter(Boolean).join(" · ");
		if (document.title !== title) document.title = title;
	}

	#showConnection({ state, transport, problem }) {
		const isOpen = state === "open";
		setText(this.#connection, isOpen ? (transport === "websocket" ? "Live" : `Live (${transport})`) : "Reconnecting …");
		this.#connection.title = problem?.message ?? "";
		this.#connection.className = `connection ${isOpen ? "complete" : "error"}`;
	}

	/** Ask for a token: there is none, or it is not valid. */
	async refuse({ message }) {
		if (!this.store) return;
		this.store.close();
		this.store = null;
		this.client.close();
		const { SignInPage } = await import("./sign_in_page.js");
		const page = new SignInPage(this.token && message, (token) => {
			sessionStorage.setItem(this.tokenName, token);
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
