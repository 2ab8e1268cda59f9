/** Set up clips: mark in and out, name, rate and order them. */

import { button, h, reconcile, setAttributes, setText, svg } from "../dom.js";
import { formatDuration, formatTimecode } from "../words.js";
import { checkField, numberField, selectField, textField, timeField } from "./fields.js";
import { Tool } from "./tool.js";

const CLIP_SECONDS = 5;
const MAX_TAGS = 50;
const CLIP_TYPE = "text/x-framehook-clip";

export class AnnotateTool extends Tool {
	static label = "Annotate";
	static hint = "Press I where a clip starts and O where it ends. Name and rate it; drag the list into the order of the film.";

	static createConfig() {
		return { clips: [], transition: { type: "cut" } };
	}

	constructor(editor) {
		super(editor);
		this.handles = svg("g");
		this.list = h("ol.clips", { "aria-label": "Clips in the order of the film" });
		const change = (name, read = (value) => value || undefined) => (value) => this.#patchClip({ [name]: read(value) }, name);
		this.fields = {
			name: textField("Name", change("name", String), { maxlength: 500 }),
			notes: textField("Notes", change("notes"), { rows: 3, maxlength: 5000 }),
			tags: textField("Tags, separated by commas", change("tags", parseTags)),
			start_time: timeField("In", (start) => this.#patchSpan({ start })),
			end_time: timeField("Out", (end) => this.#patchSpan({ end })),
		};
		const { name, notes, tags, start_time: start, end_time: end } = this.fields;
		this.stars = [1, 2, 3, 4, 5].map((rating) => button("★", () => this.#rate(rating), { "aria-label": `${rating} of 5 stars` }));
		this.clipFields = h("fieldset", h("legend", "Selected clip"), name, h("div.stars", { role: "group", "aria-label": "Rating" }, this.stars), h("div.grid", start, end), notes, tags);
		this.transition = selectField("Between clips", [["cut", "Cut"], ["fade", "Fade"], ["dissolve", "Dissolve"]], (type) => this.#patchTransition({ type }));
		this.seconds = numberField("Seconds of it", (duration) => this.#patchTransition({ duration }, "duration"), { type: "range", min: 0, max: 3, step: 0.1 });
		this.labels = checkField("Show name, stars and notes in the film", (isOn) => this.patch({ show_labels: isOn ? undefined : false }));
		const buttons = [button("Mark in (I)", () => this.markIn()), button("Mark out (O)", () => this.markOut())];
		this.inspector = [h("div.buttons", buttons), this.list, this.clipFields, h("div.grid", this.transition, this.seconds), this.labels];
	}

	get #index() {
		return this.findSelected("clips");
	}

	show() {
		const { clips, transition, show_labels: areShown = true } = this.config;
		const { type, duration } = { type: "cut", duration: 0.5, ...transition };
		this.transition.show(type);
		this.seconds.show(duration);
		this.seconds.hidden = type === "cut";
		this.labels.show(areShown);
		const clip = clips[this.#index];
		this.clipFields.hidden = !clip;
		if (clip) {
			for (const [name, field] of Object.entries(this.fields)) field.show(clip[name]);
			this.stars.forEach((star, index) => star.setAttribute("aria-pressed", index < (clip.rating ?? 0)));
		}
		reconcile(this.list, clips.map((item, id) => ({ ...item, id })), (item) => item.id, ({ id }) => this.#createItem(id), (element, item) => this.#updateItem(element, item));
	}

	#createItem(id) {
		return h(
			"li",
			{
				draggable: "true",
				ondragstart: (event) => event.dataTransfer.setData(CLIP_TYPE, String(id)),
				ondragover: (event) => event.dataTransfer.types.includes(CLIP_TYPE) && event.preventDefault(),
				ondrop: (event) => {
					const from = event.dataTransfer.getData(CLIP_TYPE);
					if (from === "") return;
					event.preventDefault();
					this.#reorder(Number(from), id);
				},
			},
			button("", () => this.#open(id), { class: "clip-name", dir: "auto" }),
			h("span.timecode"),
			button("↑", () => this.#reorder(id, id - 1), { "aria-label": "Move up" }),
			button("↓", () => this.#reorder(id, id + 1), { "aria-label": "Move down" }),
			button("✕", () => this.remove({ trackId: "clips", id }), { "aria-label": "Remove" }),
		);
	}

	#updateItem(element, { id, name, start_time: start, end_time: end }) {
		setText(element.children[0], name || "Without a name");
		setText(element.children[1], `${formatTimecode(start, 1)} · ${formatDuration(end - start)}`);
		setAttributes(element, { "aria-current": id === this.#index && "true" });
	}

	get tracks() {
		const bars = this.config.clips.map((clip, id) => ({ id, start: clip.start_time, end: clip.end_time, label: clip.name || `Clip ${id + 1}` }));
		return [{ id: "clips", label: "Clips", bars, marks: this.markedIn === undefined ? [] : [{ id: 0, time: this.markedIn, label: "Mark in" }] }];
	}

	moveMark(_track, _id, time) {
		this.#putMark(this.editor.limitSpan({ start: time, end: time + 1 }).start);
	}

	moveBar(_track, index, { start, end }, group) {
		this.patchItem("clips", index, this.limitTimes(start, end), group);
	}

	remove(item) {
		if (item.kind === "mark") this.#putMark(undefined);
		else super.remove(item);
	}

	markIn() {
		this.#putMark(this.editor.time);
		this.editor.say(`In at ${formatTimecode(this.markedIn)}. Press O where the clip ends.`);
	}

	/** End the clip that was begun; without a mark it is the last few seconds. */
	markOut() {
		const { duration, fps } = this.source;
		const end = Math.min(this.editor.time + 1 / fps, duration);
		const start = this.markedIn ?? Math.max(0, end - CLIP_SECONDS);
		if (end - start < 1 / fps - 1e-6) return this.editor.say("The end of a clip must be after its start.");
		this.markedIn = undefined;
		return this.addItem("clips", { ...this.limitTimes(start, end), name: `Clip ${this.config.clips.length + 1}` });
	}

	addKeyframe() {
		this.markOut();
	}

	#putMark(time) {
		this.markedIn = time;
		this.editor.refresh();
	}

	#open(id) {
		this.editor.select({ kind: "bar", trackId: "clips", id });
		this.editor.seek(this.config.clips[id].start_time);
	}

	#rate(rating) {
		this.#patchClip({ rating: this.config.clips[this.#index].rating === rating ? undefined : rating });
	}

	#patchSpan(span) {
		const { start_time: start, end_time: end } = this.config.clips[this.#index];
		this.moveBar("clips", this.#index, { start, end, ...span });
	}

	#patchClip(values, group) {
		this.patchItem("clips", this.#index, values, group);
	}

	#patchTransition(values, group) {
		this.patch({ transition: { ...this.config.transition, ...values } }, group);
	}

	#reorder(from, to) {
		const clip = this.config.clips[from];
		if (!clip || to < 0 || to >= this.config.clips.length || from === to) return;
		this.patch({ clips: this.config.clips.toSpliced(from, 1).toSpliced(to, 0, clip) });
		this.editor.select({ kind: "bar", trackId: "clips", id: to });
	}
}

function parseTags(text) {
	const tags = text.split(",").map((tag) => tag.trim()).filter(Boolean);
	return tags.length > 0 ? tags.slice(0, MAX_TAGS) : undefined;
}
