/** The picture that is edited: the video, effects painted over it, and the handles on top. */

import { h, svg } from "../dom.js";

export class Stage {
	#resizing;
	#onResize = () => {};

	/** `source` has `width`, `height`; `label` says what the picture is. */
	constructor(source, label) {
		this.source = source;
		this.video = h("video", { muted: true, playsinline: true, preload: "auto", tabindex: -1, "aria-label": label });
		this.video.muted = true;
		this.effects = h("canvas", { width: source.width, height: source.height, "aria-hidden": "true" });
		this.handles = svg("svg", { viewBox: `0 0 ${source.width} ${source.height}`, class: "handles" });
		this.element = h("div", { class: "stage", style: { "--ratio": String(source.width / source.height) } }, this.video, this.effects, this.handles);
		this.#resizing = new ResizeObserver(() => this.#onResize());
		this.#resizing.observe(this.handles);
	}

	/** Pixels of the source per pixel of the screen. */
	get scale() {
		return this.source.width / (this.handles.clientWidth || this.source.width);
	}

	/** Call `listener` when the stage changes its size on the screen. */
	set onresize(listener) {
		this.#onResize = listener;
	}

	/** Return where the pointer is, in pixels of the source. */
	toSource(event) {
		const bounds = this.handles.getBoundingClientRect();
		return {
			x: ((event.clientX - bounds.left) / bounds.width) * this.source.width,
			y: ((event.clientY - bounds.top) / bounds.height) * this.source.height,
		};
	}

	close() {
		this.#resizing.disconnect();
	}
}
