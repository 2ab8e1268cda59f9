/** Start the portal: the webhooks of one user, with the token of a link. */

import { createClient } from "/framehook.js";
import { Application } from "/console/application.js";
import { h, replaceChildren } from "/console/dom.js";
import WebhooksPage from "/console/webhooks_page.js";

const TOKEN = "framehook.portal";
const PLACE = /^#\/webhooks\/([^/]+)$/;

class Portal extends Application {
	#main = document.querySelector("#main");
	#page = null;

	constructor(token) {
		super();
		this.client = createClient({ token });
	}

	refuse({ message }) {
		this.close(message);
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
