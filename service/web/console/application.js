/** What the pages need of the application around them, in the console and in the portal. */

import { button } from "./dom.js";
import { Messages } from "./messages.js";

/** A client of the service and messages; its classes say with `refuse(problem)` what they do without a valid token. */
export class Application {
	messages = new Messages();

	say(text, href) {
		this.messages.say(text, href);
	}

	/** Say why a call failed, in the sentence of the service. */
	sayProblem(problem) {
		if (problem.status === 401) this.refuse(problem);
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
}
