/** Where a crop or a highlight is at a time; the same numbers as the service computes. */

const SMALLEST_CROP = 2;
const MAX_OVERSHOOT = 0.125;
const ROUNDING_PIXELS = 1e-3;
const DEFAULT_COLOR = "#ffff00";
const BOUND_SECONDS = 0.04;
const GROUND_ASPECT = 0.3;
export const DEFAULT_SETTINGS = { shape: "body", dim_strength: 0.2, fill_enabled: false, fill_opacity: 0.2, stroke_width: 2, fade: 0.25 };

/**
 * Return the values of a uniform Catmull-Rom spline at a time in seconds; the same numbers as the service computes.
 *
 * `times` rise strictly; `values` has one array per time, all of one length. Before the first and after the last
 * keyframe the values are constant.
 */
export function evaluateSpline(times, values, time) {
	const next = countUpTo(times, time);
	if (next === 0) return values[0];
	if (next === times.length) return values[next - 1];
	const position = (time - times[next - 1]) / (times[next] - times[next - 1]);
	const before = values[Math.max(next - 2, 0)];
	const after = values[Math.min(next + 1, values.length - 1)];
	return values[next - 1].map((value, index) => catmullRom(before[index], value, values[next][index], after[index], position));
}

/** Return how many of the rising `times` are not later than `time`. */
function countUpTo(times, time) {
	let low = 0;
	let high = times.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (time < times[middle]) high = middle;
		else low = middle + 1;
	}
	return low;
}

function catmullRom(p0, p1, p2, p3, position) {
	const linear = p2 - p0;
	const square = 2 * p0 - 5 * p1 + 4 * p2 - p3;
	const cube = 3 * (p1 - p2) + p3 - p0;
	return p1 + 0.5 * position * (linear + position * (square + position * cube));
}

/**
 * Return `{x, y, width, height}` in pixels of the source at a time in seconds.
 *
 * A crop that reaches over an edge is moved inside; one that is larger than the picture is placed around it.
 */
export function cropAt(keyframes, time, frame, degrees = 0) {
	const values = keyframes.map(({ x, y, width, height }) => [x, y, width, height]);
	const [x, y, width, height] = evaluateSpline(keyframes.map((keyframe) => keyframe.time), values, time);
	return limitCrop({ x, y, width, height }, frame, findOverhang(keyframes, frame, degrees));
}

/** Move a crop into the picture, or around it if it is larger. */
export function limitCrop(crop, frame, overhang = { x: 0, y: 0 }) {
	const width = Math.max(crop.width, SMALLEST_CROP);
	const height = Math.max(crop.height, SMALLEST_CROP);
	return { x: limitStart(crop.x, width, frame.width, overhang.x), y: limitStart(crop.y, height, frame.height, overhang.y), width, height };
}

/** Return the size of the output: as configured, and by the first crop where one or both sides are not. The service makes sides even. */
export function outputSize({ keyframes: [first], output_width: width, output_height: height }) {
	const ratio = first.width / first.height;
	return { width: width || (height ? ratio * height : first.width), height: height || (width ? width / ratio : first.height) };
}

/** Return the pixels beyond either end of each side that crops of a turned picture can show. */
function findOverhang(keyframes, { width, height }, degrees) {
	const isInside = findBound(keyframes.map((keyframe) => keyframe.width)) <= width && findBound(keyframes.map((keyframe) => keyframe.height)) <= height;
	if (!degrees || isInside) return { x: 0, y: 0 };
	const radians = (degrees * Math.PI) / 180;
	const cosine = Math.abs(Math.cos(radians));
	const sine = Math.abs(Math.sin(radians));
	const halve = (growth) => Math.max(0, 2 * Math.ceil((growth - ROUNDING_PIXELS) / 4));
	return { x: halve(width * cosine + height * sine - width), y: halve(width * sine + height * cosine - height) };
}

/** Return how long a side can become between keyframes: the spline overshoots. */
function findBound(lengths) {
	const longest = Math.max(...lengths);
	return longest + MAX_OVERSHOOT * (longest - Math.min(...lengths));
}

function limitStart(start, length, frame, overhang) {
	const slack = Math.min(Math.abs(frame - length), Math.abs(frame + 2 * overhang - length)) / 2;
	const middle = (frame - length) / 2;
	return Math.min(Math.max(start, middle - slack), middle + slack);
}

/**
 * Return the ellipse, its fade `level`, opacities and color (channels 0 to 1), or null if the region is not visible.
 *
 * Coordinates are pixels of the frame.
 */
export function highlightAt(region, settings, frame, time) {
	const level = fadeLevel(region, settings.fade, time);
	if (level <= 0) return null;
	const { times, values } = toPath(region, settings, frame);
	const [x, y, radiusX, radiusY, stroke, fill, ...color] = evaluateSpline(times, values, time);
	const ellipse = { x, y, radiusX: Math.max(radiusX, 0), radiusY: Math.max(radiusY, 0) };
	return {
		...(settings.shape === "ground" ? moveToFeet(ellipse) : ellipse),
		level,
		strokeOpacity: clampFraction(stroke),
		fillOpacity: clampFraction(fill),
		color: color.map(clampFraction),
	};
}

function toPath(region, settings, frame) {
	const scale = scaleOf(region, frame);
	const [low, high] = [region.start_time - BOUND_SECONDS, region.end_time + BOUND_SECONDS];
	const within = region.keyframes.filter(({ time }) => low <= time && time <= high);
	const keyframes = within.length > 0 ? within : region.keyframes;
	return {
		times: keyframes.map(({ time }) => time),
		values: keyframes.map((keyframe) => [
			keyframe.x * scale.x,
			keyframe.y * scale.y,
			keyframe.radiusX * scale.x,
			keyframe.radiusY * scale.y,
			keyframe.strokeOpacity ?? 1,
			settings.fill_enabled ? (keyframe.fillOpacity ?? settings.fill_opacity) : 0,
			...parseColor(keyframe.color ?? region.color ?? DEFAULT_COLOR),
		]),
	};
}

function fadeLevel({ start_time: start, end_time: end }, fadeSeconds, time) {
	if (!(start <= time && time < end)) return 0;
	const fade = Math.min(fadeSeconds, (end - start) / 2);
	return fade ? Math.min(1, Math.min(time - start, end - time) / fade) : 1;
}

/** Return frame pixels per pixel of the video size on which the region was drawn. */
export function scaleOf(region, frame) {
	const x = region.videoWidth ? frame.width / region.videoWidth : null;
	const y = region.videoHeight ? frame.height / region.videoHeight : null;
	return { x: x || y || 1, y: y || x || 1 };
}

function moveToFeet({ x, y, radiusX, radiusY }) {
	return { x, y: y + radiusY, radiusX, radiusY: radiusX * GROUND_ASPECT };
}

function parseColor(color) {
	return [1, 3, 5].map((index) => parseInt(color.slice(index, index + 2), 16) / 255);
}

function clampFraction(value) {
	return Math.min(Math.max(value, 0), 1);
}
