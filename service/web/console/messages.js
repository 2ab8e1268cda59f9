/** Short messages at the foot of the page, and the browser's notifications for those who want them. */

import { h } from "./dom.js";
import { describeState, nameOf } from "./states.js";

const SHOWN_MILLISECONDS = 8000;
const MAX_SHOWN = 3;
const WISH = "framehook.notifications";

export class Messages {
	#place;

	constructor(place) {
		this.#place = place;
	}

	/** Show a text; `action` is `{label, run}` or `{label, href}`. */
	say(text, action) {
		const close = () => message.remove();
		const control =
			action?.href !== undefined
				? h("a", { href: action.href, onclick: close }, action.label)
				: action && h("button", { type: "button", onclick: () => { close(); action.run(); } }, action.label);
		const message = h("div", { dir: "auto" }, h("span", {}, text), control);
		while (this.#place.children.length >= MAX_SHOWN) this.#place.firstElementChild.remove();
		this.#place.append(message);
		setTimeout(close, SHOWN_MILLISECONDS);
	}

	get areNotificationsOn() {
		return "Notification" in window && Notification.permission === "granted" && localStorage.getItem(WISH) === "on";
	}

	async switchNotifications(isOn) {
		if (isOn && (await Notification.requestPermission()) !== "granted") {
			this.say("The browser does not let this page notify you; allow it in the site's settings.");
			return false;
		}
		localStorage.setItem(WISH, isOn ? "on" : "off");
		return isOn;
	}

	/** Say that an export has ended; if nobody looks, the browser does, and it stays unacknowledged. */
	announceEnd(job, client) {
		const text = `${nameOf(job)}: ${describeState(job)}`;
		const href = `#/exports/${encodeURIComponent(job.job_id)}`;
		if (document.visibilityState === "visible") {
			if (location.hash !== href) this.say(text, { label: "Open", href });
			client.acknowledge(job.job_id).catch(() => {}); // it is shown again at the next start
		} else if (this.areNotificationsOn) {
			const notification = new Notification("Framehook", { body: text, tag: job.job_id });
			notification.onclick = () => {
				window.focus();
				location.hash = href;
			};
		}
	}
}
