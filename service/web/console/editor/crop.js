/** The crop of a framing at a time, and the size of its output; the same numbers as the service computes. */

import { evaluateSpline } from "./spline.js";

const SMALLEST_CROP = 2;
const MAX_OVERSHOOT = 0.125;
const ROUNDING_PIXELS = 1e-3;
const MIN_SIDE = 16;
const MAX_SIDE = 8192;

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

/** Return the size of the output: as configured, and by the first crop where one or both sides are not. */
export function outputSize({ keyframes: [first], output_width: width, output_height: height }) {
	const ratio = first.width / first.height;
	return {
		width: width || toEvenSide(height ? ratio * height : first.width),
		height: height || toEvenSide(width ? (first.height / first.width) * width : first.height),
	};
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

/** Return the nearest even side that a video may have; half-way between two it is the multiple of four. */
function toEvenSide(length) {
	const half = Math.round(length / 2);
	const isTie = Math.abs((length / 2) % 1) === 0.5;
	return Math.min(Math.max(MIN_SIDE, 2 * (isTie && half % 2 !== 0 ? half - 1 : half)), MAX_SIDE);
}
