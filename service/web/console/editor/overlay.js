/** Set up an overlay: ellipses that follow players, and text, over stretches of time. */

import { button, h, svg } from "../dom.js";
import { roundTo } from "../words.js";
import { paintEffects, measureText } from "./effects.js";
import { checkField, numberField, segmentedField, selectField, textField } from "./fields.js";
import { Box, EllipseHandle } from "./handles.js";
import { DEFAULT_SETTINGS, highlightAt, scaleOf } from "./paths.js";
import { Tool, findKeyframe, moveKeyframe, putKeyframe, removeKeyframe, roundValues, toMarks } from "./tool.js";

const ITEM_SECONDS = 2;
const EFFECTS = [["dark_overlay", "Dim the rest"], ["brightness_boost", "Brighten"], ["original", "Outline only"]];
const ANCHORS = "top-left top top-right left center right bottom-left bottom bottom-right".split(" ");
const REGIONS = "highlight_regions";
const TEXTS = "text_layers";
const NO_REGION = "Move the playhead into a highlight, or add one.";

export class OverlayTool extends Tool {
	static label = "Overlay";
	static hint = "Add a highlight, drag the ellipse onto a player, move through the video and drag it again.";

	static createConfig() {
		return { [REGIONS]: [], effect_type: "dark_overlay" };
	}

	constructor(editor) {
		super(editor);
		this.ellipse = new EllipseHandle(editor, "Highlight", (ellipse, group) => this.#putEllipse(ellipse, group));
		this.textBox = new Box(editor, "Text", (rectangle, group) => this.#moveText(rectangle, group));
		this.handles = svg("g", this.ellipse, this.textBox);
		this.#createInspector();
	}

	get #settings() {
		return { ...DEFAULT_SETTINGS, ...this.config.overlay_settings };
	}

	get #regions() {
		return this.config[REGIONS] ?? [];
	}

	get #texts() {
		return this.config[TEXTS] ?? [];
	}

	/** The region that is edited: the selected one if it is visible, else the first that is. */
	get #regionIndex() {
		const { selection, time } = this.editor;
		const isVisible = (region) => region?.start_time <= time && time < region.end_time;
		const selected = selection?.trackId === REGIONS ? selection.id : findRegion(selection?.trackId);
		return isVisible(this.#regions[selected]) ? selected : this.#regions.findIndex(isVisible);
	}

	get #textIndex() {
		return this.findSelected(TEXTS);
	}

	#createInspector() {
		const setting = (name) => (value) => this.patch({ overlay_settings: { ...this.config.overlay_settings, [name]: value } }, name);
		const textSetting = (name) => (value) => this.#patchText({ [name]: value }, name);
		this.fields = {
			effect: segmentedField("Effect", EFFECTS, (effect_type) => this.patch({ effect_type })),
			dim: numberField("Strength", setting("dim_strength"), { type: "range", min: 0, max: 1, step: 0.05 }),
			shape: segmentedField("Shape", [["body", "Body"], ["ground", "At the feet"]], setting("shape")),
			fill: checkField("Fill the ellipse", setting("fill_enabled")),
		};
		this.color = textField("Color of this highlight", (color) => this.patchItem(REGIONS, this.#regionIndex, { color }, "color"), { type: "color" });
		this.text = {
			text: textField("Text", (text) => text && this.#patchText({ text }, "text"), { rows: 2, maxlength: 1000 }),
			size: numberField("Size", textSetting("size"), { type: "range", min: 12, max: 240, step: 2 }),
			color: textField("Color of this text", textSetting("color"), { type: "color" }),
			box: checkField("Box behind the text", (isOn) => this.#patchText({ box: isOn ? { color: "#000000" } : undefined })),
			anchor: selectField("Placed by its", ANCHORS.map((name) => [name, name.replace("-", " ")]), textSetting("anchor")),
		};
		this.regionFields = h("fieldset", h("legend", "Selected highlight"), this.color);
		this.textFields = h("fieldset", h("legend", "Selected text"), Object.values(this.text));
		const buttons = [button("Add highlight", () => this.#addRegion(), { class: "primary" }), button("Add keyframe", () => this.addKeyframe(), { title: "Enter" }), button("Add text", () => this.#addText())];
		this.inspector = [h("div.buttons", buttons), this.regionFields, this.textFields, Object.values(this.fields)];
	}

	show(time) {
		const { source, stage, fields } = this;
		const settings = this.#settings;
		paintEffects(stage.context, stage.video, this.config, settings, source, time);
		const region = this.#regions[this.#regionIndex];
		this.ellipse.element.style.display = region ? "" : "none";
		this.regionFields.hidden = !region;
		if (region) {
			this.ellipse.show(this.#ellipseOf(region));
			this.ellipse.body.classList.toggle("keyed", findKeyframe(region.keyframes, time, source.fps) >= 0);
			this.color.show(region.color ?? "#ffff00");
		}
		const layer = this.#texts[this.#textIndex];
		const isTextVisible = layer?.start_time <= time && time < layer.end_time;
		this.textBox.element.style.display = isTextVisible ? "" : "none";
		if (isTextVisible) this.textBox.show(measureText(stage.context, layer, source));
		this.textFields.hidden = !layer;
		const values = { size: 48, color: "#ffffff", anchor: "top-left", box: undefined, ...layer };
		if (layer) for (const [name, field] of Object.entries(this.text)) field.show(values[name]);
		fields.effect.show(this.config.effect_type ?? "dark_overlay");
		fields.shape.show(settings.shape);
		fields.dim.show(settings.dim_strength);
		fields.fill.show(settings.fill_enabled);
	}

	get tracks() {
		const selected = this.#regionIndex;
		const toBar = (label) => (item, id) => ({ id, start: item.start_time, end: item.end_time, label: label(item, id) });
		return [
			{ id: REGIONS, label: "Highlights", bars: this.#regions.map(toBar((_region, id) => `Highlight ${id + 1}`)) },
			{ id: `keyframes-${selected}`, label: "Keyframes", marks: toMarks(this.#regions[selected]?.keyframes ?? []) },
			{ id: TEXTS, label: "Texts", bars: this.#texts.map(toBar(({ text }) => text)) },
		];
	}

	moveMark(trackId, index, time, group) {
		const { keyframes, start_time: start, end_time: end } = this.#regions[findRegion(trackId)];
		const moved = moveKeyframe(keyframes, index, time, this.source.fps, start, end);
		this.patchItem(REGIONS, findRegion(trackId), { keyframes: moved }, group);
		this.editor.seek(moved[index].time);
	}

	moveBar(trackId, index, { start, end }, group) {
		const times = this.limitTimes(start, end);
		if (trackId === TEXTS) return this.patchItem(TEXTS, index, times, group);
		const region = this.#regions[index];
		const isMoved = Math.abs(end - start - (region.end_time - region.start_time)) < 1e-6;
		const shift = isMoved ? times.start_time - region.start_time : 0;
		const keyframes = region.keyframes.map((keyframe) => ({ ...keyframe, time: Math.max(0, roundTo(keyframe.time + shift, 4)) }));
		return this.patchItem(REGIONS, index, { ...times, keyframes: shift ? keyframes : region.keyframes }, group);
	}

	remove(item) {
		const index = findRegion(item.trackId);
		if (index < 0) super.remove(item);
		else this.patchItem(REGIONS, index, { keyframes: removeKeyframe(this.#regions[index].keyframes, item.id) });
	}

	copy({ trackId, id }) {
		return this.#regions[findRegion(trackId)]?.keyframes[id] ?? null;
	}

	paste({ time: _time, ...values }) {
		this.#putKeyframe(values);
	}

	addKeyframe() {
		const region = this.#regions[this.#regionIndex];
		if (region) this.#putEllipse(this.#ellipseOf(region));
		else this.editor.say(NO_REGION);
	}

	#addRegion() {
		const { width, height } = this.source;
		const { time } = this.editor;
		const times = this.limitTimes(time, time + ITEM_SECONDS);
		const ellipse = roundValues({ x: width / 2, y: height / 2, radiusX: height / 8, radiusY: height * 0.175 });
		this.addItem(REGIONS, { ...times, keyframes: [{ time: Math.max(time, times.start_time), ...ellipse }] });
	}

	#addText() {
		const { width, height } = this.source;
		const { time } = this.editor;
		this.addItem(TEXTS, { text: "Text", ...this.limitTimes(time, time + ITEM_SECONDS), x: width / 2, y: roundTo(height * 0.08, 1), anchor: "top", size: Math.round(height / 15) });
	}

	/** Return the ellipse of the body at this time, not faded. */
	#ellipseOf(region) {
		return highlightAt(region, { ...this.#settings, shape: "body", fade: 0 }, this.source, this.editor.time);
	}

	#putEllipse({ x, y, radiusX, radiusY }, group) {
		const scale = scaleOf(this.#regions[this.#regionIndex], this.source);
		this.#putKeyframe(roundValues({ x: x / scale.x, y: y / scale.y, radiusX: radiusX / scale.x, radiusY: radiusY / scale.y }), group);
	}

	#putKeyframe(values, group) {
		const index = this.#regionIndex;
		if (index < 0) return this.editor.say(NO_REGION);
		return this.patchItem(REGIONS, index, { keyframes: putKeyframe(this.#regions[index].keyframes, this.editor.time, this.source.fps, values) }, group);
	}

	#patchText(values, group) {
		this.patchItem(TEXTS, this.#textIndex, values, group);
	}

	#moveText({ x, y }, group) {
		const layer = this.#texts[this.#textIndex];
		const bounds = measureText(this.stage.context, layer, this.source);
		this.#patchText(roundValues({ x: layer.x + x - bounds.x, y: layer.y + y - bounds.y }), group);
	}
}

/** Return the index of the region whose keyframes a track shows, or -1. */
function findRegion(trackId) {
	return trackId?.startsWith("keyframes-") ? Number(trackId.slice(10)) : -1;
}
