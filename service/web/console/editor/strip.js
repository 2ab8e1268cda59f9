/** The timeline: a ruler, the playhead, and a row per track with bars and marks that can be dragged. */

import { h, reconcile, setAttributes, setText, trackPointer } from "../dom.js";
import { formatTimecode } from "../words.js";

const LABEL_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
const LABEL_PIXELS = 80;

/** The timeline of an editor. A track is `{id, label, bars: [{id, start, end, label}], marks: [{id, time, label}]}`. */
export class Strip {
	#editor;

	constructor(editor) {
		this.#editor = editor;
		this.ruler = h("div.ruler", { "aria-hidden": "true" });
		this.playhead = h("div.playhead", { role: "slider", tabindex: 0, "aria-label": "Playhead", "aria-valuemax": editor.source.duration });
		this.tracks = h("div");
		this.area = h("div.strip-area", { onpointerdown: (event) => this.#scrub(event) }, this.ruler, this.tracks, this.playhead);
		this.element = h("section.strip", { "aria-label": "Timeline" }, this.area);
		this.resizing = new ResizeObserver(() => this.#drawRuler());
		this.resizing.observe(this.area);
	}

	showTime(time) {
		this.playhead.style.left = this.#percent(time);
		setAttributes(this.playhead, { "aria-valuenow": time.toFixed(3), "aria-valuetext": formatTimecode(time) });
	}

	showTracks(tracks) {
		reconcile(this.tracks, tracks, (track) => track.id, () => h("div.track", { role: "group" }, h("div"), h("div")), (element, track) => this.#updateTrack(element, track));
	}

	close() {
		this.resizing.disconnect();
	}

	#updateTrack(element, { id: trackId, label, bars = [], marks = [] }) {
		setAttributes(element, { "aria-label": label });
		const [barPlace, markPlace] = element.children;
		const update = (child, span) => this.#update(child, span);
		reconcile(barPlace, bars, (bar) => bar.id, ({ id }) => this.#createBar({ kind: "bar", trackId, id }), update);
		reconcile(markPlace, marks, (mark) => mark.id, ({ id }) => this.#createMark({ kind: "mark", trackId, id }), update);
	}

	#createMark(item) {
		const move = ({ time }, delta, group) => this.#editor.tool.moveMark(item.trackId, item.id, time + delta, group);
		return Object.assign(this.#createButton("mark", item, move), { item });
	}

	#createBar(item) {
		const move = (startMoves, endMoves) => ({ start, end }, delta, group) => this.#editor.tool.moveBar(item.trackId, item.id, { start: start + startMoves * delta, end: end + endMoves * delta }, group);
		const createEdge = (name, ...moves) => h(`span.edge.${name}`, { onpointerdown: (event) => this.#drag(event, item, move(...moves)) });
		return Object.assign(h("div.bar", this.#createButton("bar-body", item, move(1, 1)), createEdge("start", 1, 0), createEdge("end", 0, 1)), { item });
	}

	#createButton(name, item, move) {
		return h(`button.${name}`, {
			type: "button",
			onpointerdown: (event) => this.#drag(event, item, move),
			onkeydown: (event) => this.#pressKey(event, item, move),
			onfocus: () => this.#editor.select(item),
		});
	}

	/** Bring a bar, or a mark, which has a time alone, up to date. */
	#update(element, span) {
		const { label, time, start = time, end } = span;
		const control = element.firstChild ?? element;
		element.span = span;
		element.style.left = this.#percent(start);
		if (end) {
			element.style.width = this.#percent(end - start);
			setText(control, label);
		}
		setAttributes(control, { "aria-label": end ? `${label}, ${formatTimecode(start)} to ${formatTimecode(end)}` : `${label} at ${formatTimecode(time)}` });
		element.classList.toggle("selected", this.#editor.isSelected(element.item));
	}

	#drag(event, item, move) {
		if (event.button !== 0) return;
		event.stopPropagation();
		const { span } = event.currentTarget.closest(".bar, .mark");
		const from = this.#timeAt(event);
		const group = Symbol("drag");
		this.#editor.select(item);
		trackPointer(event, (moved) => move(span, this.#timeAt(moved) - from, group), () => this.#editor.endGroup());
	}

	#pressKey(event, item, move) {
		const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
		if (event.key === "Delete" || event.key === "Backspace") this.#editor.remove(item);
		else if (direction && event.altKey) move(event.currentTarget.closest(".bar, .mark").span, direction / this.#editor.source.fps, "keys");
		else return;
		event.preventDefault();
		event.stopPropagation();
	}

	#scrub(event) {
		if (event.button !== 0) return;
		const seek = (moved) => this.#editor.seek(this.#timeAt(moved));
		seek(event);
		trackPointer(event, seek, () => {});
	}

	#timeAt(event) {
		const { left, width } = this.area.getBoundingClientRect();
		return ((event.clientX - left) / width) * this.#editor.source.duration;
	}

	#percent(time) {
		return `${(time / this.#editor.source.duration) * 100}%`;
	}

	#drawRuler() {
		const { duration } = this.#editor.source;
		const count = Math.max(1, Math.floor(this.area.clientWidth / LABEL_PIXELS));
		const step = LABEL_SECONDS.find((seconds) => duration / seconds <= count) ?? duration;
		const times = Array.from({ length: Math.ceil(duration / step) }, (_, index) => index * step);
		this.ruler.replaceChildren(...times.map((time) => h("span", { style: { left: this.#percent(time) } }, formatTimecode(time, step < 1 ? 1 : 0))));
	}
}
