/** Set up a framing: the crop over the picture, its path, trim and speed. */

import { h, setAttributes, svg } from "../dom.js";
import { roundTo } from "../format.js";
import { cropAt, limitCrop, outputSize } from "./crop.js";
import { button, numberField, segmentedField, selectField } from "./fields.js";
import { Box } from "./handles.js";
import { findKeyframe, moveKeyframe, putKeyframe, removeKeyframe } from "./keyframes.js";

const SHAPES = {
	"9:16": { ratio: 9 / 16, size: [1080, 1920] },
	"1:1": { ratio: 1, size: [1080, 1080] },
	"4:5": { ratio: 4 / 5, size: [1080, 1350] },
	"16:9": { ratio: 16 / 9, size: [1920, 1080] },
};
const SHAPE_TOLERANCE = 0.02;
const PATH_POINTS = 240;

export class FramingTool {
	static label = "Framing";
	static hint = "Drag the frame where the action is; move through the video and drag it again. It glides in between.";

	/** Return the config to begin with: a vertical crop in the middle. */
	static createConfig(source) {
		const [output_width, output_height] = SHAPES["9:16"].size;
		return { keyframes: [{ time: 0, ...centerCrop(source, SHAPES["9:16"].ratio) }], output_width, output_height };
	}

	constructor(editor) {
		this.editor = editor;
		this.box = new Box(editor.stage, {
			label: "Crop",
			ratio: () => this.#ratio,
			onChange: (crop, group) => this.#putCrop(crop, group),
			onEnd: () => editor.endGroup(),
		});
		this.shade = svg("path", { class: "shade", "fill-rule": "evenodd" });
		this.path = svg("polyline", { class: "path" });
		this.dots = svg("g", { class: "dots" });
		this.handles = svg("g", {}, this.shade, this.path, this.dots, this.box.element);
		this.preview = h("canvas", { class: "preview", role: "img", "aria-label": "Preview of the export" });
		this.#createInspector();
	}

	get config() {
		return this.editor.config;
	}

	get #ratio() {
		const shape = SHAPES[findShape(this.config)];
		return shape ? shape.ratio : null;
	}

	#createInspector() {
		const put = (name) => (value) => this.#putCrop({ ...this.crop, [name]: value }, `field ${name}`);
		this.fields = {
			shape: segmentedField("Shape", [...Object.keys(SHAPES).map((name) => [name, name]), ["free", "Free"]], (name) => this.#chooseShape(name)),
			x: numberField("Left", put("x"), { unit: "px" }),
			y: numberField("Top", put("y"), { unit: "px" }),
			width: numberField("Width", (value) => this.#putSize("width", value), { unit: "px", min: 16 }),
			height: numberField("Height", (value) => this.#putSize("height", value), { unit: "px", min: 16 }),
			rotation: numberField("Level the horizon", (value) => this.editor.change({ ...this.config, rotation: value || undefined }, "rotation"), { unit: "°", min: -180, max: 180, step: 0.1 }),
			speed: selectField("Speed of the selected part", [["0.25", "¼ ×"], ["0.5", "½ ×"], ["2", "2 ×"], ["4", "4 ×"]], (value) => this.#putSpeed(Number(value))),
		};
		const { shape, x, y, width, height, rotation, speed } = this.fields;
		this.inspector = h(
			"div",
			{ class: "inspector" },
			shape.element,
			h("div", { class: "grid" }, x.element, y.element, width.element, height.element),
			rotation.element,
			h("div", { class: "buttons" }, button("Add keyframe", () => this.addKeyframe(), { title: "Enter" }), button("Slow motion here", () => this.#addSpeed()), button("Start here", () => this.#putTrim("start")), button("End here", () => this.#putTrim("end"))),
			speed.element,
		);
	}

	/** Bring handles, preview and fields up to date with config and time. */
	show(time) {
		const { source, stage } = this.editor;
		const { rotation = 0, keyframes } = this.config;
		this.crop = cropAt(keyframes, time, source, rotation);
		this.box.show(this.crop);
		const { x, y, width, height } = this.crop;
		setAttributes(this.shade, { d: `M0 0H${source.width}V${source.height}H0ZM${x} ${y}h${width}v${height}h${-width}Z` });
		stage.video.style.transform = rotation ? `rotate(${rotation}deg)` : "";
		if (this.shownConfig !== this.config || this.shownScale !== stage.scale) this.#showPath();
		for (const name of ["x", "y", "width", "height"]) this.fields[name].show(this.crop[name]);
		const isKeyframe = findKeyframe(keyframes, time, source.fps) >= 0;
		this.box.body.classList.toggle("keyed", isKeyframe);
		this.paintPreview();
	}

	#showPath() {
		const { source, stage } = this.editor;
		const { keyframes, rotation = 0 } = this.config;
		this.shownConfig = this.config;
		this.shownScale = stage.scale;
		const start = keyframes[0].time;
		const seconds = keyframes[keyframes.length - 1].time - start;
		const centers = Array.from({ length: seconds ? PATH_POINTS + 1 : 0 }, (_, index) => centerOf(cropAt(keyframes, start + (seconds * index) / PATH_POINTS, source, rotation)));
		setAttributes(this.path, { points: centers.map((point) => point.join(",")).join(" ") });
		const dots = keyframes.map((keyframe) => {
			const [cx, cy] = centerOf(limitCrop(keyframe, source));
			return svg("circle", { cx, cy, r: 4 * stage.scale });
		});
		this.dots.replaceChildren(...dots);
		this.fields.shape.show(findShape(this.config) ?? "free");
		this.fields.rotation.show(rotation);
		this.fields.speed.element.hidden = this.#selectedSegment < 0;
		if (this.#selectedSegment >= 0) this.fields.speed.show(String(this.config.segments[this.#selectedSegment].speed));
	}

	/** Draw what the export shows at this time. */
	paintPreview() {
		const { source, stage } = this.editor;
		const size = outputSize(this.config);
		const scale = Math.min(1, 720 / Math.max(size.width, size.height));
		const [width, height] = [Math.round(size.width * scale), Math.round(size.height * scale)];
		if (this.preview.width !== width || this.preview.height !== height) Object.assign(this.preview, { width, height });
		const context = this.preview.getContext("2d");
		context.resetTransform();
		context.fillStyle = this.config.background?.startsWith("#") ? this.config.background : "#000";
		context.fillRect(0, 0, width, height);
		const fit = Math.min(width / this.crop.width, height / this.crop.height);
		const [wide, high] = [this.crop.width * fit, this.crop.height * fit];
		context.save();
		context.beginPath();
		context.rect((width - wide) / 2, (height - high) / 2, wide, high);
		context.clip();
		context.translate((width - wide) / 2, (height - high) / 2);
		context.scale(fit, fit);
		context.translate(source.width / 2 - this.crop.x, source.height / 2 - this.crop.y);
		context.rotate(((this.config.rotation ?? 0) * Math.PI) / 180);
		if (stage.video.readyState >= 2) context.drawImage(stage.video, -source.width / 2, -source.height / 2, source.width, source.height);
		context.restore();
	}

	get tracks() {
		const { keyframes, segments = [], trim } = this.config;
		return [
			{ id: "keyframes", label: "Keyframes", marks: keyframes.map((keyframe, id) => ({ id, time: keyframe.time, label: `Keyframe ${id + 1}` })) },
			{ id: "segments", label: "Speed", bars: segments.map((segment, id) => ({ id, start: segment.start, end: segment.end, label: `${segment.speed}×` })) },
			{ id: "trim", label: "Trim", bars: trim ? [{ id: 0, ...trim, label: "Used" }] : [] },
		];
	}

	moveMark(_track, index, time, group) {
		const keyframes = moveKeyframe(this.config.keyframes, index, time, this.editor.source.fps, { start: 0, end: this.editor.source.duration });
		this.editor.change({ ...this.config, keyframes }, group);
		this.editor.seek(keyframes[index].time);
	}

	moveBar(track, index, span, group) {
		const limited = this.editor.limitSpan(span);
		if (track === "trim") this.editor.change({ ...this.config, trim: limited }, group);
		else if (!overlapsOther(this.config.segments, index, limited)) this.editor.change({ ...this.config, segments: this.config.segments.with(index, { ...this.config.segments[index], ...limited }) }, group);
	}

	remove({ trackId, id }) {
		if (trackId === "keyframes") this.editor.change({ ...this.config, keyframes: removeKeyframe(this.config.keyframes, id) });
		else if (trackId === "segments") this.editor.change({ ...this.config, segments: this.config.segments.toSpliced(id, 1) });
		else this.editor.change({ ...this.config, trim: undefined });
	}

	addKeyframe() {
		this.#putCrop(this.crop, null);
	}

	/** Return what a copy of the selected keyframe holds; `paste` puts it at the playhead. */
	copy({ trackId, id }) {
		return trackId === "keyframes" ? this.config.keyframes[id] : null;
	}

	paste({ x, y, width, height }) {
		this.#putCrop({ x, y, width, height }, null);
	}

	#putCrop(crop, group) {
		const { source, time } = this.editor;
		const { rotation = 0 } = this.config;
		const limited = rotation ? crop : limitCrop(crop, source);
		const values = Object.fromEntries(Object.entries(limited).map(([name, value]) => [name, roundTo(value, 2)]));
		this.editor.change({ ...this.config, keyframes: putKeyframe(this.config.keyframes, time, source.fps, values) }, group);
	}

	#putSize(side, value) {
		const ratio = this.#ratio;
		const size = side === "width" ? { width: value, height: ratio ? value / ratio : this.crop.height } : { width: ratio ? value * ratio : this.crop.width, height: value };
		this.#putCrop({ ...this.crop, ...size }, `field ${side}`);
	}

	#chooseShape(name) {
		const shape = SHAPES[name];
		if (!shape) {
			this.editor.change({ ...this.config, output_width: undefined, output_height: undefined });
			return;
		}
		const [output_width, output_height] = shape.size;
		const keyframes = this.config.keyframes.map((keyframe) => ({ time: keyframe.time, ...reshape(keyframe, shape.ratio, this.editor.source) }));
		this.editor.change({ ...this.config, keyframes, output_width, output_height });
	}

	get #selectedSegment() {
		const { selection } = this.editor;
		return selection?.trackId === "segments" && this.config.segments?.[selection.id] ? selection.id : -1;
	}

	#putSpeed(speed) {
		const index = this.#selectedSegment;
		if (index >= 0) this.editor.change({ ...this.config, segments: this.config.segments.with(index, { ...this.config.segments[index], speed }) });
	}

	#addSpeed() {
		const span = this.editor.limitSpan({ start: this.editor.time, end: this.editor.time + 1 });
		const segments = [...(this.config.segments ?? []), { ...span, speed: 0.5 }].sort((a, b) => a.start - b.start);
		if (segments.some((segment, index) => index > 0 && segment.start < segments[index - 1].end)) return this.editor.say("There is another speed here already; drag its ends.");
		this.editor.change({ ...this.config, segments });
		return undefined;
	}

	#putTrim(edge) {
		const { time, source } = this.editor;
		const trim = { start: 0, end: source.duration, ...this.config.trim, [edge]: time };
		if (trim.end - trim.start < 1 / source.fps) return this.editor.say("The end must be after the start.");
		this.editor.change({ ...this.config, trim });
		return undefined;
	}
}

function centerCrop(source, ratio) {
	return reshape({ x: 0, y: 0, width: source.width, height: source.height }, ratio, source);
}

/** Return the crop in another shape around the same center, inside the picture. */
function reshape(crop, ratio, source) {
	const height = Math.min(crop.height, source.width / ratio, source.height);
	const width = height * ratio;
	const moved = limitCrop({ x: crop.x + (crop.width - width) / 2, y: crop.y + (crop.height - height) / 2, width, height }, source);
	return Object.fromEntries(Object.entries(moved).map(([name, value]) => [name, roundTo(value, 2)]));
}

function findShape({ output_width: width, output_height: height }) {
	if (!width || !height) return null;
	return Object.keys(SHAPES).find((name) => Math.abs(SHAPES[name].ratio / (width / height) - 1) < SHAPE_TOLERANCE) ?? null;
}

function centerOf({ x, y, width, height }) {
	return [x + width / 2, y + height / 2];
}

function overlapsOther(segments, index, { start, end }) {
	return segments.some((segment, other) => other !== index && start < segment.end && segment.start < end);
}
