/** Set up an overlay: ellipses that follow players, and text, over stretches of time. */

import { h, svg } from "../dom.js";
import { roundTo } from "../format.js";
import { paintEffects, textBounds } from "./effects.js";
import { button, checkField, colorField, segmentedField, selectField, sliderField, textField } from "./fields.js";
import { Box, EllipseHandle } from "./handles.js";
import { defaultSettings, highlightAt, scaleOf } from "./highlight.js";
import { findKeyframe, moveKeyframe, putKeyframe, removeKeyframe } from "./keyframes.js";

const REGION_SECONDS = 2;
const EFFECTS = [
	["dark_overlay", "Dim the rest"],
	["brightness_boost", "Brighten"],
	["original", "Outline only"],
];

export class OverlayTool {
	static label = "Overlay";
	static hint = "Add a highlight, drag the ellipse onto a player, move through the video and drag it again.";

	static createConfig() {
		return { highlight_regions: [], effect_type: "dark_overlay" };
	}

	constructor(editor) {
		this.editor = editor;
		this.ellipse = new EllipseHandle(editor.stage, {
			label: "Highlight",
			onChange: (ellipse, group) => this.#putEllipse(ellipse, group),
			onEnd: () => editor.endGroup(),
		});
		this.textBox = new Box(editor.stage, {
			label: "Text",
			onChange: (rectangle, group) => this.#moveText(rectangle, group),
			onEnd: () => editor.endGroup(),
		});
		this.textBox.corners.forEach((corner) => corner.remove());
		this.handles = svg("g", {}, this.ellipse.element, this.textBox.element);
		this.#createInspector();
	}

	get config() {
		return this.editor.config;
	}

	get #settings() {
		return { ...defaultSettings(), ...this.config.overlay_settings };
	}

	#createInspector() {
		const setting = (name) => (value) => this.editor.change({ ...this.config, overlay_settings: { ...this.config.overlay_settings, [name]: value } }, name);
		this.fields = {
			effect: segmentedField("Effect", EFFECTS, (effect_type) => this.editor.change({ ...this.config, effect_type })),
			shape: segmentedField("Shape", [["body", "Body"], ["ground", "At the feet"]], setting("shape")),
			dim: sliderField("Strength", setting("dim_strength"), { min: 0, max: 1, step: 0.05 }),
			fill: checkField("Fill the ellipse", setting("fill_enabled")),
			color: colorField("Color of this highlight", (color) => this.#changeRegion({ color }, "color")),
			text: textField("Text", (text) => text && this.#changeText({ text }, "text"), { rows: 2, maxlength: 1000 }),
			size: sliderField("Size", (size) => this.#changeText({ size }, "size"), { min: 12, max: 240, step: 2 }),
			textColor: colorField("Color of this text", (color) => this.#changeText({ color }, "textColor")),
			box: checkField("Box behind the text", (isOn) => this.#changeText({ box: isOn ? { color: "#000000" } : undefined })),
			anchor: selectField("Placed by its", ["top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"].map((name) => [name, name.replace("-", " ")]), (anchor) => this.#changeText({ anchor })),
		};
		const { effect, shape, dim, fill, color, text, size, textColor, box, anchor } = this.fields;
		this.regionFields = h("fieldset", {}, h("legend", {}, "Selected highlight"), color.element);
		this.textFields = h("fieldset", {}, h("legend", {}, "Selected text"), text.element, size.element, textColor.element, box.element, anchor.element);
		const buttons = [
			button("Add highlight", () => this.addRegion()),
			button("Add keyframe", () => this.addKeyframe(), { title: "Enter" }),
			button("Add text", () => this.addText()),
		];
		this.inspector = h("div", { class: "inspector" }, h("div", { class: "buttons" }, buttons), effect.element, dim.element, shape.element, fill.element, this.regionFields, this.textFields);
	}

	show(time) {
		const { source, stage } = this.editor;
		paintEffects(stage.effects.getContext("2d"), stage.video, this.config, this.#settings, source, time);
		const region = this.config.highlight_regions?.[this.#regionIndex(time)];
		const bodyState = region && highlightAt(region, { ...this.#settings, shape: "body", fade: 0 }, source, time);
		this.ellipse.element.style.display = bodyState ? "" : "none";
		if (bodyState) {
			this.ellipse.show(bodyState);
			this.ellipse.body.classList.toggle("keyed", findKeyframe(region.keyframes, time, source.fps) >= 0);
		}
		const layer = this.config.text_layers?.[this.#textIndex];
		const isTextVisible = layer && layer.start_time <= time && time < layer.end_time;
		this.textBox.element.style.display = isTextVisible ? "" : "none";
		if (isTextVisible) this.textBox.show(textBounds(stage.effects.getContext("2d"), layer, source));
		this.#showFields(region, layer);
	}

	#showFields(region, layer) {
		const { fields } = this;
		fields.effect.show(this.config.effect_type ?? "dark_overlay");
		fields.shape.show(this.#settings.shape);
		fields.dim.show(this.#settings.dim_strength);
		fields.fill.show(this.#settings.fill_enabled);
		this.regionFields.hidden = !region;
		this.textFields.hidden = !layer;
		if (region) fields.color.show(region.color);
		if (layer) {
			fields.text.show(layer.text);
			fields.size.show(layer.size ?? 48);
			fields.textColor.show(layer.color ?? "#ffffff");
			fields.box.show(layer.box);
			fields.anchor.show(layer.anchor ?? "top-left");
		}
	}

	get tracks() {
		const { highlight_regions: regions = [], text_layers: layers = [] } = this.config;
		const selected = this.#regionIndex(this.editor.time);
		return [
			{ id: "regions", label: "Highlights", bars: regions.map((region, id) => ({ id, start: region.start_time, end: region.end_time, label: `Highlight ${id + 1}` })) },
			{ id: `keyframes-${selected}`, label: "Keyframes", marks: (regions[selected]?.keyframes ?? []).map((keyframe, id) => ({ id, time: keyframe.time, label: `Keyframe ${id + 1}` })) },
			{ id: "texts", label: "Texts", bars: layers.map((layer, id) => ({ id, start: layer.start_time, end: layer.end_time, label: layer.text })) },
		];
	}

	moveMark(trackId, index, time, group) {
		const region = this.config.highlight_regions[regionOf(trackId)];
		const keyframes = moveKeyframe(region.keyframes, index, time, this.editor.source.fps, { start: region.start_time, end: region.end_time });
		this.#replaceRegion(regionOf(trackId), { ...region, keyframes }, group);
		this.editor.seek(keyframes[index].time);
	}

	moveBar(trackId, index, span, group) {
		const { start: start_time, end: end_time } = this.editor.limitSpan(span);
		if (trackId === "texts") {
			this.#replaceText(index, { ...this.config.text_layers[index], start_time, end_time }, group);
			return;
		}
		const region = this.config.highlight_regions[index];
		const isMoved = Math.abs(span.end - span.start - (region.end_time - region.start_time)) < 1e-6;
		const shift = isMoved ? start_time - region.start_time : 0;
		const keyframes = region.keyframes.map((keyframe) => ({ ...keyframe, time: Math.max(0, roundTo(keyframe.time + shift, 4)) }));
		this.#replaceRegion(index, { ...region, start_time, end_time, keyframes: shift ? keyframes : region.keyframes }, group);
	}

	remove({ trackId, id }) {
		if (trackId === "texts") this.editor.change({ ...this.config, text_layers: this.config.text_layers.toSpliced(id, 1) });
		else if (trackId === "regions") this.editor.change({ ...this.config, highlight_regions: this.config.highlight_regions.toSpliced(id, 1) });
		else {
			const region = this.config.highlight_regions[regionOf(trackId)];
			this.#replaceRegion(regionOf(trackId), { ...region, keyframes: removeKeyframe(region.keyframes, id) });
		}
	}

	copy({ trackId, id }) {
		return trackId.startsWith("keyframes") ? this.config.highlight_regions[regionOf(trackId)].keyframes[id] : null;
	}

	paste({ time: _time, ...values }) {
		this.#putKeyframe(values, null);
	}

	addRegion() {
		const { source, time } = this.editor;
		const { start: start_time, end: end_time } = this.editor.limitSpan({ start: time, end: time + REGION_SECONDS });
		const radius = roundTo(source.height / 8, 1);
		const keyframe = { time: Math.max(time, start_time), x: source.width / 2, y: source.height / 2, radiusX: radius, radiusY: roundTo(radius * 1.4, 1) };
		const regions = [...(this.config.highlight_regions ?? []), { start_time, end_time, keyframes: [keyframe] }];
		this.editor.change({ ...this.config, highlight_regions: regions });
		this.editor.select({ kind: "bar", trackId: "regions", id: regions.length - 1 });
	}

	addText() {
		const { source, time } = this.editor;
		const { start: start_time, end: end_time } = this.editor.limitSpan({ start: time, end: time + REGION_SECONDS });
		const layer = { text: "Text", start_time, end_time, x: source.width / 2, y: roundTo(source.height * 0.08, 1), anchor: "top", size: Math.round(source.height / 15) };
		const layers = [...(this.config.text_layers ?? []), layer];
		this.editor.change({ ...this.config, text_layers: layers });
		this.editor.select({ kind: "bar", trackId: "texts", id: layers.length - 1 });
	}

	addKeyframe() {
		const region = this.config.highlight_regions?.[this.#regionIndex(this.editor.time)];
		if (!region) return this.editor.say("Move the playhead into a highlight, or add one.");
		return this.#putEllipse(highlightAt(region, { ...this.#settings, shape: "body", fade: 0 }, this.editor.source, this.editor.time), null);
	}

	/** Return the region that is edited at a time: the selected one if it is visible, else the first that is. */
	#regionIndex(time) {
		const { selection } = this.editor;
		const regions = this.config.highlight_regions ?? [];
		const isVisible = (region) => region && region.start_time <= time && time < region.end_time;
		const selected = selection?.trackId === "regions" ? selection.id : regionOf(selection?.trackId ?? "");
		return isVisible(regions[selected]) ? selected : regions.findIndex(isVisible);
	}

	get #textIndex() {
		const { selection } = this.editor;
		return selection?.trackId === "texts" ? selection.id : -1;
	}

	#putEllipse({ x, y, radiusX, radiusY }, group) {
		const region = this.config.highlight_regions[this.#regionIndex(this.editor.time)];
		const scale = scaleOf(region, this.editor.source);
		this.#putKeyframe({ x: roundTo(x / scale.x, 2), y: roundTo(y / scale.y, 2), radiusX: roundTo(radiusX / scale.x, 2), radiusY: roundTo(radiusY / scale.y, 2) }, group);
	}

	#putKeyframe(values, group) {
		const { time, source } = this.editor;
		const index = this.#regionIndex(time);
		const region = this.config.highlight_regions[index];
		if (!region) return this.editor.say("Move the playhead into a highlight, or add one.");
		return this.#replaceRegion(index, { ...region, keyframes: putKeyframe(region.keyframes, time, source.fps, values) }, group);
	}

	#changeRegion(values, group) {
		const index = this.#regionIndex(this.editor.time);
		if (index >= 0) this.#replaceRegion(index, { ...this.config.highlight_regions[index], ...values }, group);
	}

	#replaceRegion(index, region, group = null) {
		this.editor.change({ ...this.config, highlight_regions: this.config.highlight_regions.with(index, region) }, group);
	}

	#changeText(values, group = null) {
		if (this.#textIndex >= 0) this.#replaceText(this.#textIndex, { ...this.config.text_layers[this.#textIndex], ...values }, group);
	}

	#replaceText(index, layer, group) {
		this.editor.change({ ...this.config, text_layers: this.config.text_layers.with(index, layer) }, group);
	}

	#moveText(rectangle, group) {
		const layer = this.config.text_layers[this.#textIndex];
		const bounds = textBounds(this.editor.stage.effects.getContext("2d"), layer, this.editor.source);
		this.#changeText({ x: roundTo(layer.x + rectangle.x - bounds.x, 1), y: roundTo(layer.y + rectangle.y - bounds.y, 1) }, group);
	}
}

function regionOf(trackId) {
	return trackId.startsWith("keyframes-") ? Number(trackId.slice(10)) : -1;
}
