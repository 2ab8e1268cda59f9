/** The picture that is edited: the video, effects painted over it, and the handles on top. */

import { h, svg } from "../dom.js";

export class Stage {
	#resizing;

	/** `source` has `name`, `width` and `height`; `onResize()` is called when the stage changes its size on the screen. */
	constructor(source, onResize) {
		const { name, width, height } = (this.source = source);
		this.video = h("video", { playsinline: true, preload: "auto", tabindex: -1, "aria-label": `The video ${name}` });
		this.video.muted = true;
		this.effects = h("canvas", { width, height, "aria-hidden": "true" });
		this.context = this.effects.getContext("2d");
		this.handles = svg("svg", { viewBox: `0 0 ${width} ${height}` });
		this.element = h("div.stage", { style: { "--ratio": width / height } }, this.video, this.effects, this.handles);
		this.#resizing = new ResizeObserver(onResize);
		this.#resizing.observe(this.handles);
	}

	/** Pixels of the source per pixel of the screen. */
	get scale() {
		return this.source.width / (this.handles.clientWidth || this.source.width);
	}

	/** Return where the pointer is, in pixels of the source. */
	toSource({ clientX, clientY }) {
		const { left, top, width, height } = this.handles.getBoundingClientRect();
		return { x: ((clientX - left) / width) * this.source.width, y: ((clientY - top) / height) * this.source.height };
	}

	close() {
		this.#resizing.disconnect();
	}
}
