/** The timeline: a ruler, the playhead, and a row per track with bars and marks that can be dragged. */

import { h, reconcile, setAttributes, setText, trackPointer } from "../dom.js";
import { formatTimecode } from "../format.js";

const LABEL_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LABEL_PIXELS = 80;

/**
 * The timeline of a source.
 *
 * A track is `{id, label, bars: [{id, start, end, label}], marks: [{id, time, label}]}`. `actions` has `seek(time)`,
 * `select(item)`, `moveMark(track, id, time, group)`, `moveBar(track, id, {start, end}, group)`, `remove(item)` and
 * `endDrag()`.
 */
export class Strip {
	#source;
	#actions;
	#selection = null;

	constructor(source, actions) {
		this.#source = source;
		this.#actions = actions;
		this.ruler = h("div", { class: "ruler", "aria-hidden": "true" });
		this.playhead = h("div", {
			class: "playhead",
			role: "slider",
			tabindex: 0,
			"aria-label": "Playhead",
			"aria-valuemin": 0,
			"aria-valuemax": source.duration,
		});
		this.tracks = h("div", { class: "tracks" });
		this.area = h("div", { class: "strip-area", onpointerdown: (event) => this.#scrub(event) }, this.ruler, this.tracks, this.playhead);
		this.element = h("section", { class: "strip", "aria-label": "Timeline" }, this.area);
		this.resizing = new ResizeObserver(() => this.#drawRuler());
		this.resizing.observe(this.area);
	}

	showTime(time) {
		this.playhead.style.left = this.#percent(time);
		setAttributes(this.playhead, { "aria-valuenow": time.toFixed(3), "aria-valuetext": formatTimecode(time) });
	}

	showTracks(tracks, selection) {
		this.#selection = selection;
		reconcile(this.tracks, tracks, (track) => track.id, () => this.#createTrack(), (element, track) => this.#updateTrack(element, track));
	}

	close() {
		this.resizing.disconnect();
	}

	#createTrack() {
		return h("div", { class: "track", role: "group" }, h("div", { class: "bars" }), h("div", { class: "marks" }));
	}

	#updateTrack(element, track) {
		setAttributes(element, { "aria-label": track.label });
		const [bars, marks] = element.children;
		reconcile(bars, track.bars ?? [], (bar) => bar.id, (bar) => this.#createBar(track.id, bar.id), (child, bar) => this.#updateBar(child, track.id, bar));
		reconcile(marks, track.marks ?? [], (mark) => mark.id, (mark) => this.#createMark(track.id, mark.id), (child, mark) => this.#updateMark(child, track.id, mark));
	}

	#createMark(trackId, id) {
		const element = h("button", { class: "mark", type: "button" });
		const item = { kind: "mark", trackId, id };
		element.addEventListener("pointerdown", (event) => this.#drag(event, item, (start, delta, group) => this.#actions.moveMark(trackId, id, start.time + delta, group)));
		element.addEventListener("keydown", (event) => this.#pressKey(event, item));
		element.addEventListener("focus", () => this.#actions.select(item));
		return element;
	}

	#updateMark(element, trackId, mark) {
		element.span = mark;
		element.style.left = this.#percent(mark.time);
		this.#showSelected(element, "mark", trackId, mark.id);
		setAttributes(element, { "aria-label": `${mark.label} at ${formatTimecode(mark.time)}` });
	}

	#createBar(trackId, id) {
		const item = { kind: "bar", trackId, id };
		const move = (edge) => (event) =>
			this.#drag(event, item, ({ start, end }, delta, group) =>
				this.#actions.moveBar(trackId, id, { start: start + (edge === "end" ? 0 : delta), end: end + (edge === "start" ? 0 : delta) }, group),
			);
		const element = h(
			"div",
			{ class: "bar" },
			h("button", { class: "bar-body", type: "button", onpointerdown: move("both"), onkeydown: (event) => this.#pressKey(event, item), onfocus: () => this.#actions.select(item) }),
			h("span", { class: "edge start", onpointerdown: move("start") }),
			h("span", { class: "edge end", onpointerdown: move("end") }),
		);
		return element;
	}

	#updateBar(element, trackId, bar) {
		element.span = bar;
		element.style.left = this.#percent(bar.start);
		element.style.width = this.#percent(bar.end - bar.start);
		const [body] = element.children;
		setText(body, bar.label);
		setAttributes(body, { "aria-label": `${bar.label}, ${formatTimecode(bar.start)} to ${formatTimecode(bar.end)}` });
		this.#showSelected(element, "bar", trackId, bar.id);
	}

	#showSelected(element, kind, trackId, id) {
		const selection = this.#selection;
		element.classList.toggle("selected", selection?.kind === kind && selection.trackId === trackId && selection.id === id);
	}

	#drag(event, item, move) {
		if (event.button !== 0) return;
		event.stopPropagation();
		const start = { ...event.currentTarget.closest(".bar, .mark").span };
		const from = this.#timeAt(event);
		const group = Symbol("drag");
		this.#actions.select(item);
		trackPointer(event, {
			onMove: (moved) => move(start, this.#timeAt(moved, false) - from, group),
			onEnd: () => this.#actions.endDrag(),
		});
	}

	#pressKey(event, item) {
		const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
		if (event.key === "Delete" || event.key === "Backspace") {
			event.preventDefault();
			event.stopPropagation();
			this.#actions.remove(item);
		} else if (direction && event.altKey) {
			event.preventDefault();
			event.stopPropagation();
			const { span } = event.currentTarget.closest(".bar, .mark");
			const delta = direction / this.#source.fps;
			if (item.kind === "mark") this.#actions.moveMark(item.trackId, item.id, span.time + delta, "keys");
			else this.#actions.moveBar(item.trackId, item.id, { start: span.start + delta, end: span.end + delta }, "keys");
		}
	}

	#scrub(event) {
		if (event.button !== 0) return;
		this.#actions.seek(this.#timeAt(event));
		trackPointer(event, { onMove: (moved) => this.#actions.seek(this.#timeAt(moved)) });
	}

	#timeAt(event, isLimited = true) {
		const bounds = this.area.getBoundingClientRect();
		const time = ((event.clientX - bounds.left) / bounds.width) * this.#source.duration;
		return isLimited ? Math.min(Math.max(0, time), this.#source.duration) : time;
	}

	#percent(time) {
		return `${((time / this.#source.duration) * 100).toFixed(4)}%`;
	}

	#drawRuler() {
		const count = Math.max(1, Math.floor(this.area.clientWidth / LABEL_PIXELS));
		const step = LABEL_SECONDS.find((seconds) => this.#source.duration / seconds <= count) ?? 7200;
		const labels = [];
		for (let time = 0; time < this.#source.duration; time += step) {
			labels.push(h("span", { style: { left: this.#percent(time) } }, formatTimecode(time, step < 1 ? 1 : 0)));
		}
		this.ruler.replaceChildren(...labels);
	}
}
