/** Paint what an overlay does to the picture, as near to the export as a canvas can. */

import { highlightAt } from "./highlight.js";

const REFERENCE_LINES = 1080;
const LINE_HEIGHT = 1.25;
const FONT = '"Noto Sans", system-ui, sans-serif';

/** Paint the effects of a config on a cleared canvas of the source's size. */
export function paintEffects(context, video, config, settings, source, time) {
	context.clearRect(0, 0, source.width, source.height);
	const states = (config.highlight_regions ?? [])
		.filter((region) => region.enabled !== false)
		.map((region) => highlightAt(region, settings, source, time))
		.filter(Boolean);
	if (states.length > 0) paintHighlights(context, video, states, config.effect_type ?? "dark_overlay", settings, source);
	for (const layer of config.text_layers ?? []) {
		if (layer.start_time <= time && time < layer.end_time) paintText(context, layer, source);
	}
}

function paintHighlights(context, video, states, effect, settings, source) {
	if (effect === "dark_overlay") dimOutside(context, states, settings.dim_strength, source);
	const lineWidth = (settings.stroke_width * source.height) / REFERENCE_LINES;
	for (const state of states) {
		if (effect === "brightness_boost") brighten(context, video, state, settings.dim_strength, source);
		const color = `rgb(${state.color.map((channel) => Math.round(channel * 255)).join(" ")})`;
		const shape = ellipsePath(state);
		context.globalAlpha = state.fillOpacity * state.level;
		context.fillStyle = color;
		context.fill(shape);
		if (lineWidth > 0) {
			context.globalAlpha = 0.5 * state.strokeOpacity * state.level;
			context.strokeStyle = "#000";
			context.lineWidth = lineWidth + 2 * Math.max(1, lineWidth / 3);
			context.stroke(shape);
			context.globalAlpha = state.strokeOpacity * state.level;
			context.strokeStyle = color;
			context.lineWidth = lineWidth;
			context.stroke(shape);
		}
		context.globalAlpha = 1;
	}
}

function dimOutside(context, states, strength, source) {
	const level = Math.max(...states.map((state) => state.level));
	context.save();
	context.fillStyle = `rgb(0 0 0 / ${strength * level})`;
	context.fillRect(0, 0, source.width, source.height);
	context.globalCompositeOperation = "destination-out";
	for (const state of states) {
		context.globalAlpha = state.level / level;
		context.fill(ellipsePath(state));
	}
	context.restore();
}

function brighten(context, video, state, strength, source) {
	if (video.readyState < 2) return;
	context.save();
	context.clip(ellipsePath(state));
	context.drawImage(video, 0, 0, source.width, source.height);
	context.globalCompositeOperation = "lighter";
	context.globalAlpha = strength * state.level;
	context.drawImage(video, 0, 0, source.width, source.height);
	context.restore();
}

function ellipsePath({ x, y, radiusX, radiusY }) {
	const path = new Path2D();
	path.ellipse(x, y, radiusX, radiusY, 0, 0, 2 * Math.PI);
	return path;
}

/** Return the rectangle of a text layer in pixels of the source, nearly as the export draws it. */
export function textBounds(context, layer, source) {
	const size = layer.size ?? 48;
	const lines = wrapLines(context, layer, source);
	const width = Math.max(...lines.map((line) => context.measureText(line).width), 1);
	const height = lines.length * size * LINE_HEIGHT;
	const anchor = layer.anchor ?? "top-left";
	const left = anchor.includes("left") ? 0 : anchor.includes("right") ? 1 : 0.5;
	const top = anchor.includes("top") ? 0 : anchor.includes("bottom") ? 1 : 0.5;
	return { x: layer.x - left * width, y: layer.y - top * height, width, height };
}

function wrapLines(context, layer, source) {
	context.font = `${layer.size ?? 48}px ${FONT}`;
	const limit = Math.min(layer.max_width ?? source.width, source.width);
	const lines = [];
	for (const paragraph of layer.text.split("\n")) {
		let line = "";
		for (const word of paragraph.split(" ")) {
			const longer = line ? `${line} ${word}` : word;
			if (line && context.measureText(longer).width > limit) {
				lines.push(line);
				line = word;
			} else line = longer;
		}
		lines.push(line);
	}
	return lines;
}

function paintText(context, layer, source) {
	const size = layer.size ?? 48;
	const lines = wrapLines(context, layer, source);
	const { x, y, width, height } = textBounds(context, layer, source);
	context.save();
	if (layer.box) {
		const padding = layer.box.padding ?? 8;
		context.globalAlpha = layer.box.opacity ?? 0.6;
		context.fillStyle = layer.box.color ?? "#000000";
		context.fillRect(x - padding, y - padding, width + 2 * padding, height + 2 * padding);
		context.globalAlpha = 1;
	}
	context.textBaseline = "middle";
	context.textAlign = layer.align ?? "left";
	context.fillStyle = layer.color ?? "#ffffff";
	context.lineJoin = "round";
	const at = { left: x, center: x + width / 2, right: x + width }[context.textAlign] ?? x;
	const outline = layer.outline ?? (layer.box ? null : { width: size / 16, color: "#000000" });
	lines.forEach((line, index) => {
		const middle = y + (index + 0.5) * size * LINE_HEIGHT;
		if (outline) {
			context.strokeStyle = outline.color ?? "#000000";
			context.lineWidth = 2 * outline.width;
			context.strokeText(line, at, middle);
		}
		context.fillText(line, at, middle);
	});
	context.restore();
}
