/** Set up clips: mark in and out, name, rate and order them. */

import { h, reconcile, setAttributes, svg } from "../dom.js";
import { formatDuration, formatTimecode } from "../format.js";
import { button, checkField, selectField, sliderField, textField, timeField } from "./fields.js";

const CLIP_SECONDS = 5;
const STARS = [1, 2, 3, 4, 5];

export class AnnotateTool {
	static label = "Annotate";
	static hint = "Press I where a clip starts and O where it ends. Name and rate it; drag the list into the order of the film.";

	static createConfig() {
		return { clips: [], transition: { type: "cut" } };
	}

	constructor(editor) {
		this.editor = editor;
		this.handles = svg("g");
		this.fields = {
			transition: selectField("Between clips", [["cut", "Cut"], ["fade", "Fade"], ["dissolve", "Dissolve"]], (type) => this.#changeTransition({ type })),
			duration: sliderField("Seconds of it", (duration) => this.#changeTransition({ duration }, "duration"), { min: 0, max: 3, step: 0.1 }),
			labels: checkField("Show name, stars and notes in the film", (isOn) => editor.change({ ...this.config, show_labels: isOn ? undefined : false })),
			name: textField("Name", (name) => this.#changeClip({ name }, "name"), { maxlength: 500 }),
			notes: textField("Notes", (notes) => this.#changeClip({ notes: notes || undefined }, "notes"), { rows: 3, maxlength: 5000 }),
			tags: textField("Tags, separated by commas", (tags) => this.#changeClip({ tags: splitTags(tags) }, "tags")),
			start: timeField("In", (start) => this.#changeSpan({ start })),
			end: timeField("Out", (end) => this.#changeSpan({ end })),
		};
		const { transition, duration, labels, name, notes, tags, start, end } = this.fields;
		this.list = h("ol", { class: "clips", "aria-label": "Clips in the order of the film" });
		this.stars = h("div", { class: "stars", role: "group", "aria-label": "Rating" }, STARS.map((rating) => button("★", () => this.#rate(rating), { "aria-label": `${rating} of 5 stars`, "aria-pressed": "false" })));
		this.clipFields = h("fieldset", {}, h("legend", {}, "Selected clip"), name.element, this.stars, h("div", { class: "grid" }, start.element, end.element), notes.element, tags.element);
		this.markButton = button("Mark in (I)", () => this.markIn());
		const buttons = h("div", { class: "buttons" }, this.markButton, button("Mark out (O)", () => this.markOut()));
		this.inspector = h("div", { class: "inspector" }, buttons, this.list, this.clipFields, h("div", { class: "grid" }, transition.element, duration.element), labels.element);
	}

	get config() {
		return this.editor.config;
	}

	get #index() {
		const { selection } = this.editor;
		return selection?.trackId === "clips" && this.config.clips[selection.id] ? selection.id : -1;
	}

	show() {
		const { clips, transition = {}, show_labels } = this.config;
		this.fields.transition.show(transition.type ?? "cut");
		this.fields.duration.show(transition.duration ?? 0.5);
		this.fields.duration.element.hidden = (transition.type ?? "cut") === "cut";
		this.fields.labels.show(show_labels !== false);
		const clip = clips[this.#index];
		this.clipFields.hidden = !clip;
		if (clip) this.#showClip(clip);
		const items = clips.map((item, id) => ({ ...item, id }));
		reconcile(this.list, items, (item) => item.id, (item) => this.#createItem(item.id), (element, item) => this.#updateItem(element, item));
	}

	#showClip(clip) {
		this.fields.name.show(clip.name);
		this.fields.notes.show(clip.notes);
		this.fields.tags.show((clip.tags ?? []).join(", "));
		this.fields.start.show(clip.start_time);
		this.fields.end.show(clip.end_time);
		[...this.stars.children].forEach((star, index) => star.setAttribute("aria-pressed", String(index < (clip.rating ?? 0))));
	}

	#createItem(id) {
		const item = h(
			"li",
			{ draggable: "true" },
			button("", () => this.#open(id), { class: "clip-name", dir: "auto" }),
			h("span", { class: "clip-time" }),
			button("↑", () => this.#reorder(id, id - 1), { "aria-label": "Move up" }),
			button("↓", () => this.#reorder(id, id + 1), { "aria-label": "Move down" }),
			button("✕", () => this.remove({ id }), { "aria-label": "Remove" }),
		);
		item.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/x-framehook-clip", String(id)));
		item.addEventListener("dragover", (event) => event.preventDefault());
		item.addEventListener("drop", (event) => {
			event.preventDefault();
			const from = event.dataTransfer.getData("text/x-framehook-clip");
			if (from !== "") this.#reorder(Number(from), id);
		});
		return item;
	}

	#updateItem(element, clip) {
		const [name, time] = element.children;
		name.textContent = clip.name || "Without a name";
		time.textContent = `${formatTimecode(clip.start_time, 1)} · ${formatDuration(clip.end_time - clip.start_time)}`;
		setAttributes(element, { "aria-current": clip.id === this.#index ? "true" : null });
	}

	get tracks() {
		const bars = this.config.clips.map((clip, id) => ({ id, start: clip.start_time, end: clip.end_time, label: clip.name || `Clip ${id + 1}` }));
		return [{ id: "clips", label: "Clips", bars, marks: this.markedIn === undefined ? [] : [{ id: 0, time: this.markedIn, label: "Mark in" }] }];
	}

	moveMark(_track, _id, time) {
		this.markedIn = this.editor.limitSpan({ start: time, end: time + 1 }).start;
		this.editor.refresh();
	}

	moveBar(_track, index, span, group) {
		const { start: start_time, end: end_time } = this.editor.limitSpan(span);
		this.#replaceClip(index, { ...this.config.clips[index], start_time, end_time }, group);
	}

	remove({ kind, id }) {
		if (kind === "mark") {
			this.markedIn = undefined;
			this.editor.refresh();
		} else this.editor.change({ ...this.config, clips: this.config.clips.toSpliced(id, 1) });
	}

	copy() {
		return null;
	}

	markIn() {
		this.markedIn = this.editor.time;
		this.editor.say(`In at ${formatTimecode(this.markedIn)}. Press O where the clip ends.`);
		this.editor.refresh();
	}

	/** End the clip that was begun; without a mark it is the last few seconds. */
	markOut() {
		const { time, source } = this.editor;
		const end = Math.min(time + 1 / source.fps, source.duration);
		const start = this.markedIn ?? Math.max(0, end - CLIP_SECONDS);
		if (end - start < 1 / source.fps) return this.editor.say("The end of a clip must be after its start.");
		this.markedIn = undefined;
		const { start: start_time, end: end_time } = this.editor.limitSpan({ start, end });
		const clips = [...this.config.clips, { start_time, end_time, name: `Clip ${this.config.clips.length + 1}` }];
		this.editor.change({ ...this.config, clips });
		this.editor.select({ kind: "bar", trackId: "clips", id: clips.length - 1 });
		return undefined;
	}

	addKeyframe() {
		this.markOut();
	}

	#open(id) {
		this.editor.select({ kind: "bar", trackId: "clips", id });
		this.editor.seek(this.config.clips[id].start_time);
	}

	#rate(rating) {
		const clip = this.config.clips[this.#index];
		this.#changeClip({ rating: clip.rating === rating ? undefined : rating });
	}

	#changeSpan(span) {
		const clip = this.config.clips[this.#index];
		this.moveBar("clips", this.#index, { start: clip.start_time, end: clip.end_time, ...span }, null);
	}

	#changeClip(values, group = null) {
		if (this.#index >= 0) this.#replaceClip(this.#index, { ...this.config.clips[this.#index], ...values }, group);
	}

	#replaceClip(index, clip, group) {
		this.editor.change({ ...this.config, clips: this.config.clips.with(index, clip) }, group);
	}

	#changeTransition(values, group = null) {
		this.editor.change({ ...this.config, transition: { ...this.config.transition, ...values } }, group);
	}

	#reorder(from, to) {
		if (to < 0 || to >= this.config.clips.length || from === to) return;
		const clips = this.config.clips.toSpliced(from, 1).toSpliced(to, 0, this.config.clips[from]);
		this.editor.change({ ...this.config, clips });
		this.editor.select({ kind: "bar", trackId: "clips", id: to });
	}
}

function splitTags(text) {
	const tags = text.split(",").map((tag) => tag.trim()).filter(Boolean);
	return tags.length > 0 ? tags.slice(0, 50) : undefined;
}
