/** Whether a config that was typed can be drawn; what else is wrong with it, the service says. */

const KEYFRAME_FIELDS = { framing: ["x", "y", "width", "height"], overlay: ["x", "y", "radiusX", "radiusY"] };

/** Return what keeps a config from being drawn, as a sentence, or null. */
export function findObstacle(type, config) {
	const { keyframes, segments = [], trim, highlight_regions: regions = [], text_layers: texts = [], clips } = config;
	if (type === "framing") {
		if (!isPath(keyframes, KEYFRAME_FIELDS.framing)) return "`keyframes` needs time, x, y, width and height of each, in rising order of time.";
		if (!areSpans(segments, "start", "end")) return "`segments` needs a start and an end of each.";
		return trim === undefined || areSpans([trim], "start", "end") ? null : "`trim` needs a start and an end.";
	}
	if (type === "annotate") return areSpans(clips, "start_time", "end_time") ? null : "`clips` needs start_time and end_time of each.";
	if (!areSpans(regions, "start_time", "end_time") || !regions.every((region) => isPath(region.keyframes, KEYFRAME_FIELDS.overlay))) {
		return "`highlight_regions` needs start_time, end_time and keyframes with time, x, y, radiusX and radiusY of each.";
	}
	const areTexts = areSpans(texts, "start_time", "end_time") && texts.every(({ text, x, y }) => typeof text === "string" && [x, y].every(Number.isFinite));
	return areTexts ? null : "`text_layers` needs text, x, y, start_time and end_time of each.";
}

function isPath(keyframes, fields) {
	return (
		Array.isArray(keyframes) &&
		keyframes.length > 0 &&
		keyframes.every((keyframe, index) => ["time", ...fields].every((field) => Number.isFinite(keyframe?.[field])) && (index === 0 || keyframe.time > keyframes[index - 1].time))
	);
}

function areSpans(items, start, end) {
	return Array.isArray(items) && items.every((item) => Number.isFinite(item?.[start]) && item[end] > item[start]);
}
