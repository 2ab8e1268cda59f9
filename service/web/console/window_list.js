/** A list of any length of which only the rows in sight are in the page. */

import { h, reconcile } from "./dom.js";

const SPARE_ROWS = 6;

export class WindowList {
	#items = [];
	#frame = 0;

	/** `keyOf(item)`, `create(item)`, `update(element, item)`; `onEnd()` is called when the last rows come in sight. */
	constructor({ label, ...options }) {
		Object.assign(this, options);
		this.space = h("div", { role: "list" });
		this.element = h("div.list", { tabindex: 0, role: "region", "aria-label": label, onscroll: () => this.#schedule() }, this.space);
		this.resizing = new ResizeObserver(() => this.#schedule());
		this.resizing.observe(this.element);
	}

	show(items) {
		this.#items = items;
		this.#draw();
	}

	close() {
		this.resizing.disconnect();
		cancelAnimationFrame(this.#frame);
	}

	#schedule() {
		this.#frame ||= requestAnimationFrame(() => this.#draw());
	}

	#draw() {
		this.#frame = 0;
		const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row"));
		const { scrollTop, clientHeight } = this.element;
		const first = Math.max(0, Math.floor(scrollTop / height) - SPARE_ROWS);
		const last = Math.ceil((scrollTop + (clientHeight || 600)) / height) + SPARE_ROWS;
		this.space.style.blockSize = `${this.#items.length * height}px`;
		let top = first * height;
		reconcile(this.space, this.#items.slice(first, last), this.keyOf, this.create, (element, item) => {
			element.style.insetBlockStart = `${top}px`;
			top += height;
			this.update(element, item);
		});
		if (last >= this.#items.length) this.onEnd();
	}
}
