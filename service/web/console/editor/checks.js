/** Return what keeps a config that was typed from being drawn, as a sentence, or ""; what else is wrong, the service says. */
export function findObstacle(type, config) {
	const { keyframes, segments = [], trim, highlight_regions: regions = [], text_layers: texts = [], clips } = config;
	const rules = {
		framing: [
			[isPath(keyframes, ["x", "y", "width", "height"]), "`keyframes` needs time, x, y, width and height of each, in order of time."],
			[areSpans(segments, "start", "end"), "`segments` needs a start and an end of each."],
			[trim === undefined || areSpans([trim], "start", "end"), "`trim` needs a start and an end."],
		],
		overlay: [
			[areSpans(regions) && regions.every((region) => isPath(region.keyframes, ["x", "y", "radiusX", "radiusY"])), "`highlight_regions` needs start_time, end_time and keyframes with time, x, y, radiusX and radiusY of each."],
			[areSpans(texts) && texts.every(({ text, x, y }) => typeof text === "string" && [x, y].every(Number.isFinite)), "`text_layers` needs text, x, y, start_time and end_time of each."],
		],
		annotate: [[areSpans(clips), "`clips` needs start_time and end_time of each."]],
	};
	return rules[type].find(([holds]) => !holds)?.[1] ?? "";
}

function isPath(keyframes, fields) {
	const isDrawable = (keyframe, index) => ["time", ...fields].every((field) => Number.isFinite(keyframe?.[field])) && !(keyframe.time <= keyframes[index - 1]?.time);
	return Array.isArray(keyframes) && keyframes.length > 0 && keyframes.every(isDrawable);
}

function areSpans(items, start = "start_time", end = "end_time") {
	return Array.isArray(items) && items.every((item) => Number.isFinite(item?.[start]) && item[end] > item[start]);
}
