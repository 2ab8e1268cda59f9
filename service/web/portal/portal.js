/** Start the portal: the webhooks of one user, with the token of a link. */

import { createClient } from "/framehook.js";
import { button, h, replaceChildren } from "/console/dom.js";
import { Messages } from "/console/messages.js";
import WebhooksPage from "/console/webhooks_page.js";

const TOKEN = "framehook.portal";
const PLACE = /^#\/webhooks\/([^/]+)$/;

/** What the pages of the console need of the application around them. */
class Portal {
	#main = document.querySelector("#main");
	#messages = new Messages();
	#page = null;

	constructor(token) {
		this.client = createClient({ token });
	}

	say(text) {
		this.#messages.say(text);
	}

	/** Call a route below `/api`; `more` has `query`, `body` and `headers`. */
	call(method, path, more) {
		return this.client.request(method, `/api${path}`, more);
	}

	/** Return what the call returns; say what goes wrong. */
	run(call) {
		return call().catch((problem) => (problem.status === 401 ? this.close(problem.message) : this.say(problem.message)));
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

	/** Show the page that the address names. */
	async open() {
		this.#page?.close();
		const page = (this.#page = new WebhooksPage(this, decodeURIComponent(PLACE.exec(location.hash)?.[1] ?? "")));
		replaceChildren(this.#main, page);
		try {
			await page.start();
		} catch (problem) {
			if (page === this.#page) this.close(problem.message, problem.status === 404 && h("a", { href: "#/webhooks" }, "All webhooks"));
		}
	}

	/** Show a sentence in place of the page. */
	close(sentence, link) {
		this.#page?.close();
		this.#page = null;
		replaceChildren(this.#main, h("div.page", h("h1", "Webhooks"), h("p.problem", { role: "alert" }, sentence), link));
	}
}

/**
 * Take the token out of the address, so that nobody copies it from there or finds it in the history.
 *
 * It stays for this tab, unless the browser gives a frame no storage: then reloading needs the link again.
 */
function takeToken() {
	const token = new URLSearchParams(location.hash.slice(1)).get("token");
	try {
		if (!token) return sessionStorage.getItem(TOKEN);
		sessionStorage.setItem(TOKEN, token);
	} catch {
		// The token is known until the page is closed.
	}
	history.replaceState(null, "", "#/webhooks");
	return token;
}

/** Open the place in the address; a link that is opened in this tab begins anew. */
async function open() {
	if (!portal || location.hash.startsWith("#token=")) {
		const token = takeToken();
		portal?.close();
		portal = new Portal(token);
		if (!token) return portal.close("This page is opened with a link. Ask for one where you got to know of it.");
	}
	return portal.open();
}

let portal = null;
addEventListener("hashchange", open);
await open();
