/** A list of any length of which only the rows in sight are in the page. */

import { h, reconcile } from "./dom.js";

const SPARE_ROWS = 6;

export class WindowList {
	#items = [];
	#frame = 0;

	/** `keyOf(item)`, `create(item)`, `update(element, item)`; `onEnd()` is called when the last rows come in sight. */
	constructor({ label, keyOf, create, update, onEnd }) {
		Object.assign(this, { keyOf, create, update, onEnd });
		this.space = h("div", { class: "list-space", role: "list" });
		this.element = h("div", { class: "list", tabindex: 0, role: "region", "aria-label": label, onscroll: () => this.#schedule() }, this.space);
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
		const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 56;
		const first = Math.max(0, Math.floor(this.element.scrollTop / height) - SPARE_ROWS);
		const last = Math.ceil((this.element.scrollTop + (this.element.clientHeight || 600)) / height) + SPARE_ROWS;
		this.space.style.blockSize = `${this.#items.length * height}px`;
		const rows = this.#items.slice(first, last).map((item, index) => ({ item, position: first + index }));
		reconcile(
			this.space,
			rows,
			({ item }) => this.keyOf(item),
			({ item }) => this.create(item),
			(element, { item, position }) => {
				element.style.insetBlockStart = `${position * height}px`;
				this.update(element, item);
			},
		);
		if (last >= this.#items.length) this.onEnd();
	}
}
