/** Short messages at the foot of the page, and the browser's notifications for those who want them. */

import { h } from "./dom.js";
import { describeState, hrefOf, nameOf } from "./words.js";

const SHOWN_MILLISECONDS = 8000;
const MAX_SHOWN = 3;
const WISH = "framehook.notifications";

export class Messages {
	#place = document.querySelector("#messages");

	/** Show a text, with a link to `href` if there is one. */
	say(text, href) {
		const message = h("div", { dir: "auto" }, text, href && h("a", { href, onclick: () => message.remove() }, "Open"));
		while (this.#place.children.length >= MAX_SHOWN) this.#place.firstElementChild.remove();
		this.#place.append(message);
		setTimeout(() => message.remove(), SHOWN_MILLISECONDS);
	}

	get areNotificationsOn() {
		return "Notification" in window && Notification.permission === "granted" && localStorage.getItem(WISH) === "on";
	}

	async switchNotifications(isOn) {
		localStorage.setItem(WISH, isOn ? "on" : "off");
		if (isOn && (await Notification.requestPermission()) !== "granted") this.say("Allow notifications in the browser's settings of this site.");
	}

	/** Say that an export has ended; if nobody looks, the browser does, and it stays unacknowledged. */
	announceEnd(job, client) {
		const body = `${nameOf(job)}: ${describeState(job)}`;
		const href = hrefOf(job);
		if (document.visibilityState === "visible") {
			if (location.hash !== href && job.status !== "cancelled") this.say(body, href); // who cancels, knows
			client.acknowledge(job.job_id).catch(() => {}); // it is shown again at the next start
		} else if (this.areNotificationsOn) {
			new Notification("Framehook", { body, tag: job.job_id }).onclick = () => {
				window.focus();
				location.hash = href;
			};
		}
	}
}
