/** Set up a framing: the crop over the picture, its path, trim and speed. */

import { button, h, replaceChildren, setAttributes, svg } from "../dom.js";
import { cropAt, limitCrop, outputSize } from "./paths.js";
import { numberField, segmentedField, selectField } from "./fields.js";
import { Box } from "./handles.js";
import { Tool, findKeyframe, moveKeyframe, putKeyframe, removeKeyframe, roundValues, toMarks } from "./tool.js";

const SIZES = { "9:16": [1080, 1920], "1:1": [1080, 1080], "4:5": [1080, 1350], "16:9": [1920, 1080] };
const SHAPE_TOLERANCE = 0.02;
const PATH_POINTS = 240;
const PREVIEW_PIXELS = 720;

export class FramingTool extends Tool {
	static label = "Framing";
	static hint = "Drag the frame where the action is; move through the video and drag it again. It glides in between.";

	/** Return the config to begin with: a vertical crop in the middle. */
	static createConfig(source) {
		return { keyframes: [{ time: 0, ...reshape({ ...source, x: 0, y: 0 }, 9 / 16, source) }], ...toOutput("9:16") };
	}

	constructor(editor) {
		super(editor);
		this.box = new Box(editor, "Crop", (crop, group) => this.#putCrop(crop, group), () => this.#ratio);
		this.shade = svg("path.shade", { "fill-rule": "evenodd" });
		this.path = svg("polyline.path");
		this.dots = svg("g.dots");
		this.handles = svg("g", this.shade, this.path, this.dots, this.box);
		this.preview = h("canvas.preview", { role: "img", "aria-label": "Preview of the export" });
		this.#createInspector();
	}

	get #ratio() {
		const size = SIZES[findShape(this.config)];
		return size ? size[0] / size[1] : null;
	}

	#createInspector() {
		const put = (name) => (value) => this.#putCrop({ ...this.crop, [name]: value }, name);
		const putSize = (width, height) => this.#putCrop({ ...this.crop, width, height }, "size");
		this.shape = segmentedField("Shape", [...Object.keys(SIZES).map((name) => [name, name]), ["free", "Free"]], (name) => this.#chooseShape(name));
		this.sides = {
			x: numberField("Left (px)", put("x")),
			y: numberField("Top (px)", put("y")),
			width: numberField("Width (px)", (width) => putSize(width, this.#ratio ? width / this.#ratio : this.crop.height), { min: 16 }),
			height: numberField("Height (px)", (height) => putSize(this.#ratio ? height * this.#ratio : this.crop.width, height), { min: 16 }),
		};
		this.rotation = numberField("Level the horizon (°)", (value) => this.patch({ rotation: value || undefined }, "rotation"), { min: -180, max: 180, step: 0.1 });
		this.speed = selectField("Speed of the selected part", [["0.25", "¼ ×"], ["0.5", "½ ×"], ["2", "2 ×"], ["4", "4 ×"]], (value) => this.patchItem("segments", this.findSelected("segments"), { speed: Number(value) }));
		const buttons = [button("Add keyframe", () => this.addKeyframe(), { title: "Enter" }), button("Slow motion here", () => this.#addSpeed()), button("Start here", () => this.#putTrim("start")), button("End here", () => this.#putTrim("end"))];
		this.inspector = [this.shape, h("div.buttons", buttons), this.speed, h("div.grid", Object.values(this.sides)), this.rotation];
	}

	/** Bring handles, preview and fields up to date with config and time. */
	show(time) {
		const { source, stage } = this;
		const { rotation = 0, keyframes } = this.config;
		this.crop = cropAt(keyframes, time, source, rotation);
		const { x, y, width, height } = this.crop;
		this.box.show(this.crop);
		this.box.body.classList.toggle("keyed", findKeyframe(keyframes, time, source.fps) >= 0);
		setAttributes(this.shade, { d: `M0 0H${source.width}V${source.height}H0ZM${x} ${y}h${width}v${height}h${-width}Z` });
		stage.video.style.transform = rotation ? `rotate(${rotation}deg)` : "";
		for (const [name, field] of Object.entries(this.sides)) field.show(this.crop[name]);
		const shown = [this.config, this.editor.selection, stage.scale];
		if (shown.some((part, index) => part !== this.shown?.[index])) this.#showConfig(rotation, keyframes);
		this.shown = shown;
		this.paintPreview();
	}

	#showConfig(rotation, keyframes) {
		const { source, stage } = this;
		const start = keyframes[0].time;
		const seconds = keyframes.at(-1).time - start;
		const points = Array.from({ length: seconds && PATH_POINTS + 1 }, (_, index) => centerOf(cropAt(keyframes, start + (seconds * index) / PATH_POINTS, source, rotation)));
		setAttributes(this.path, { points: points.join(" ") });
		replaceChildren(this.dots, keyframes.map((keyframe) => {
			const [cx, cy] = centerOf(limitCrop(keyframe, source));
			return svg("circle", { cx, cy, r: 4 * stage.scale });
		}));
		this.shape.show(findShape(this.config) ?? "free");
		this.rotation.show(rotation);
		const segment = this.config.segments?.[this.findSelected("segments")];
		this.speed.hidden = !segment;
		if (segment) this.speed.show(segment.speed);
	}

	/** Draw what the export shows at this time. */
	paintPreview() {
		const { source, crop, preview } = this;
		const { video } = this.stage;
		const { background, rotation = 0 } = this.config;
		const size = outputSize(this.config);
		const scale = Math.min(1, PREVIEW_PIXELS / Math.max(size.width, size.height));
		const [width, height] = [Math.round(size.width * scale), Math.round(size.height * scale)];
		if (preview.width !== width || preview.height !== height) Object.assign(preview, { width, height });
		const context = preview.getContext("2d");
		const fit = Math.min(width / crop.width, height / crop.height);
		context.fillStyle = background?.startsWith("#") ? background : "#000";
		context.fillRect(0, 0, width, height);
		context.save();
		context.translate((width - crop.width * fit) / 2, (height - crop.height * fit) / 2);
		context.scale(fit, fit);
		context.beginPath();
		context.rect(0, 0, crop.width, crop.height);
		context.clip();
		context.translate(source.width / 2 - crop.x, source.height / 2 - crop.y);
		context.rotate((rotation * Math.PI) / 180);
		if (video.readyState >= 2) context.drawImage(video, -source.width / 2, -source.height / 2, source.width, source.height);
		context.restore();
	}

	get tracks() {
		const { keyframes, segments = [], trim } = this.config;
		return [
			{ id: "keyframes", label: "Keyframes", marks: toMarks(keyframes) },
			{ id: "segments", label: "Speed", bars: segments.map(({ start, end, speed }, id) => ({ id, start, end, label: `${speed}×` })) },
			{ id: "trim", label: "Trim", bars: trim ? [{ id: 0, ...trim, label: "Used" }] : [] },
		];
	}

	moveMark(_track, index, time, group) {
		const keyframes = moveKeyframe(this.config.keyframes, index, time, this.source.fps, 0, this.source.duration);
		this.patch({ keyframes }, group);
		this.editor.seek(keyframes[index].time);
	}

	moveBar(track, index, span, group) {
		const limited = this.editor.limitSpan(span);
		if (track === "trim") this.patch({ trim: limited }, group);
		else if (!this.config.segments.some(({ start, end }, other) => other !== index && limited.start < end && start < limited.end)) this.patchItem("segments", index, limited, group);
	}

	remove(item) {
		if (item.trackId === "keyframes") this.patch({ keyframes: removeKeyframe(this.config.keyframes, item.id) });
		else if (item.trackId === "trim") this.patch({ trim: undefined });
		else super.remove(item);
	}

	addKeyframe() {
		this.#putCrop(this.crop);
	}

	copy({ trackId, id }) {
		return trackId === "keyframes" ? this.config.keyframes[id] : null;
	}

	paste({ time: _time, ...crop }) {
		this.#putCrop(crop);
	}

	#putCrop(crop, group) {
		const { source, time } = this.editor;
		const values = roundValues(this.config.rotation ? crop : limitCrop(crop, source));
		this.patch({ keyframes: putKeyframe(this.config.keyframes, time, source.fps, values) }, group);
	}

	#chooseShape(name) {
		if (name === "free") return this.patch({ output_width: undefined, output_height: undefined });
		const [width, height] = SIZES[name];
		const keyframes = this.config.keyframes.map((keyframe) => ({ time: keyframe.time, ...reshape(keyframe, width / height, this.source) }));
		return this.patch({ keyframes, ...toOutput(name) });
	}

	#addSpeed() {
		const { time } = this.editor;
		const segment = { ...this.editor.limitSpan({ start: time, end: time + 1 }), speed: 0.5 };
		const segments = [...(this.config.segments ?? []), segment].sort((a, b) => a.start - b.start);
		if (segments.some(({ start }, index) => start < segments[index - 1]?.end)) return this.editor.say("There is another speed here already; drag its ends.");
		this.patch({ segments });
		return this.editor.select({ kind: "bar", trackId: "segments", id: segments.indexOf(segment) });
	}

	#putTrim(edge) {
		const { duration, fps } = this.source;
		const trim = { start: 0, end: duration, ...this.config.trim, [edge]: this.editor.time };
		if (trim.end - trim.start < 1 / fps) this.editor.say("The end must be after the start.");
		else this.patch({ trim });
	}
}

function toOutput(shape) {
	return { output_width: SIZES[shape][0], output_height: SIZES[shape][1] };
}

/** Return the crop in another shape around the same center, inside the picture. */
function reshape({ x, y, ...size }, ratio, source) {
	const height = Math.min(size.height, source.width / ratio, source.height);
	const width = height * ratio;
	return roundValues(limitCrop({ x: x + (size.width - width) / 2, y: y + (size.height - height) / 2, width, height }, source));
}

function findShape({ output_width: width, output_height: height }) {
	return Object.keys(SIZES).find((name) => Math.abs(SIZES[name][0] / SIZES[name][1] / (width / height) - 1) < SHAPE_TOLERANCE);
}

function centerOf({ x, y, width, height }) {
	return [x + width / 2, y + height / 2];
}
