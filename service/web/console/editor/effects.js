/** Paint what an overlay does to the picture, as near to the export as a canvas can. */

import { highlightAt } from "./paths.js";

const REFERENCE_LINES = 1080;
const LINE_HEIGHT = 1.25;
const FONT = '"Noto Sans", system-ui, sans-serif';
const TEXT = { size: 48, anchor: "top-left", align: "left", color: "#ffffff" };

/** Paint the effects of a config on a canvas of the source's size. */
export function paintEffects(context, video, config, settings, source, time) {
	const { width, height } = source;
	const { highlight_regions: regions = [], text_layers: texts = [], effect_type: effect = "dark_overlay" } = config;
	context.clearRect(0, 0, width, height);
	const states = regions
		.filter((region) => region.enabled !== false)
		.map((region) => highlightAt(region, settings, source, time))
		.filter(Boolean)
		.map((state) => ({ ...state, path: createEllipse(state) }));
	if (states.length > 0 && effect === "dark_overlay") dimOutside(context, states, settings.dim_strength, source);
	for (const state of states) {
		if (effect === "brightness_boost" && video.readyState >= 2) brighten(context, video, state, settings.dim_strength, source);
		paintEllipse(context, state, (settings.stroke_width * height) / REFERENCE_LINES);
	}
	for (const layer of texts) {
		if (layer.start_time <= time && time < layer.end_time) paintText(context, layer, source);
	}
}

function createEllipse({ x, y, radiusX, radiusY }) {
	const path = new Path2D();
	path.ellipse(x, y, radiusX, radiusY, 0, 0, 2 * Math.PI);
	return path;
}

function paintEllipse(context, { path, level, color, fillOpacity, strokeOpacity }, lineWidth) {
	const style = `rgb(${color.map((channel) => Math.round(channel * 255)).join(" ")})`;
	context.save();
	context.globalAlpha = fillOpacity * level;
	context.fillStyle = style;
	context.fill(path);
	const strokes = [["#000", 0.5, lineWidth + 2 * Math.max(1, lineWidth / 3)], [style, 1, lineWidth]];
	for (const [strokeStyle, opacity, width] of lineWidth > 0 ? strokes : []) {
		Object.assign(context, { strokeStyle, lineWidth: width, globalAlpha: opacity * strokeOpacity * level });
		context.stroke(path);
	}
	context.restore();
}

function dimOutside(context, states, strength, { width, height }) {
	const highest = Math.max(...states.map(({ level }) => level));
	context.save();
	context.fillStyle = `rgb(0 0 0 / ${strength * highest})`;
	context.fillRect(0, 0, width, height);
	context.globalCompositeOperation = "destination-out";
	for (const { level, path } of states) {
		context.globalAlpha = level / highest;
		context.fill(path);
	}
	context.restore();
}

function brighten(context, video, { path, level }, strength, { width, height }) {
	context.save();
	context.clip(path);
	context.drawImage(video, 0, 0, width, height);
	context.globalCompositeOperation = "lighter";
	context.globalAlpha = strength * level;
	context.drawImage(video, 0, 0, width, height);
	context.restore();
}

/** Return the rectangle of a text layer in pixels of the source and its lines, nearly as the export draws it. */
export function measureText(context, layer, source) {
	const { size, anchor, x, y } = { ...TEXT, ...layer };
	context.font = `${size}px ${FONT}`;
	const widthOf = (line) => context.measureText(line).width;
	const lines = wrapLines(layer.text, widthOf, Math.min(layer.max_width ?? source.width, source.width));
	const width = Math.max(...lines.map(widthOf), 1);
	const height = lines.length * size * LINE_HEIGHT;
	const left = anchor.includes("left") ? 0 : anchor.includes("right") ? 1 : 0.5;
	const top = anchor.includes("top") ? 0 : anchor.includes("bottom") ? 1 : 0.5;
	return { x: x - left * width, y: y - top * height, width, height, lines };
}

function wrapLines(text, widthOf, limit) {
	return text.split("\n").flatMap((paragraph) => {
		const lines = [];
		let line = "";
		for (const word of paragraph.split(" ")) {
			const longer = line ? `${line} ${word}` : word;
			const isTooLong = line && widthOf(longer) > limit;
			if (isTooLong) lines.push(line);
			line = isTooLong ? word : longer;
		}
		return [...lines, line];
	});
}

function paintText(context, layer, source) {
	const { size, align, color, box } = { ...TEXT, ...layer };
	const { x, y, width, height, lines } = measureText(context, layer, source);
	const outline = layer.outline ?? (box ? null : { width: size / 16 });
	context.save();
	if (box) {
		const padding = box.padding ?? 8;
		context.globalAlpha = box.opacity ?? 0.6;
		context.fillStyle = box.color ?? "#000000";
		context.fillRect(x - padding, y - padding, width + 2 * padding, height + 2 * padding);
	}
	Object.assign(context, { globalAlpha: 1, textBaseline: "middle", textAlign: align, fillStyle: color, lineJoin: "round" });
	if (outline) Object.assign(context, { strokeStyle: outline.color ?? "#000000", lineWidth: 2 * outline.width });
	const at = x + width * ({ center: 0.5, right: 1 }[align] ?? 0);
	lines.forEach((line, index) => {
		const middle = y + (index + 0.5) * size * LINE_HEIGHT;
		if (outline) context.strokeText(line, at, middle);
		context.fillText(line, at, middle);
	});
	context.restore();
}
