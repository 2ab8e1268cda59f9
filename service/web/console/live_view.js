/** A part of a page that loads itself again until it is closed. */
export class LiveView {
	#timer = 0;
	#isClosed = false;

	constructor(app, element) {
		Object.assign(this, { app, element });
	}

	/** Load and show; `load()` returns the milliseconds until it is called again, or nothing. */
	async start() {
		clearTimeout(this.#timer);
		const delay = await this.load();
		if (delay && !this.#isClosed) this.#timer = setTimeout(() => this.app.run(() => this.start()), delay);
	}

	close() {
		this.#isClosed = true;
		clearTimeout(this.#timer);
	}
}
