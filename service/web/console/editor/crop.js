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
	const times = keyframes.map((keyframe) => keyframe.time);
	const values = keyframes.map(({ x, y, width, height }) => [x, y, width, height]);
	const [x, y, width, height] = evaluateSpline(times, values, time);
	return limitCrop({ x, y, width, height }, frame, findOverhang(keyframes, frame, degrees));
}

/** Move a crop into the picture, or around it if it is larger. */
export function limitCrop(crop, frame, overhang = { x: 0, y: 0 }) {
	const width = Math.max(crop.width, SMALLEST_CROP);
	const height = Math.max(crop.height, SMALLEST_CROP);
	return {
		x: limitStart(crop.x, width, frame.width, overhang.x),
		y: limitStart(crop.y, height, frame.height, overhang.y),
		width,
		height,
	};
}

/** Return the size of the output: as configured, and by the first crop where one or both sides are not. */
export function outputSize(config) {
	const first = config.keyframes[0];
	const { output_width: width, output_height: height } = config;
	if (!width && !height) return { width: evenSide(first.width), height: evenSide(first.height) };
	if (!width) return { width: evenSide((first.width / first.height) * height), height };
	return { width, height: height || evenSide((first.height / first.width) * width) };
}

/** Return the pixels beyond either end of each side that crops of a turned picture can show. */
function findOverhang(keyframes, frame, degrees) {
	const widest = splineBound(keyframes.map((keyframe) => keyframe.width));
	const highest = splineBound(keyframes.map((keyframe) => keyframe.height));
	if (!degrees || (widest <= frame.width && highest <= frame.height)) return { x: 0, y: 0 };
	const radians = (degrees * Math.PI) / 180;
	const cosine = Math.abs(Math.cos(radians));
	const sine = Math.abs(Math.sin(radians));
	return {
		x: overhangOf(frame.width * cosine + frame.height * sine - frame.width),
		y: overhangOf(frame.width * sine + frame.height * cosine - frame.height),
	};
}

function splineBound(lengths) {
	const longest = Math.max(...lengths);
	return longest + MAX_OVERSHOOT * (longest - Math.min(...lengths));
}

function overhangOf(growth) {
	return Math.max(0, 2 * Math.ceil((growth - ROUNDING_PIXELS) / 4));
}

function limitStart(start, length, frame, overhang) {
	const slack = Math.min(Math.abs(frame - length), Math.abs(frame + 2 * overhang - length)) / 2;
	const middle = (frame - length) / 2;
	return Math.min(Math.max(start, middle - slack), middle + slack);
}

function evenSide(length) {
	return Math.min(Math.max(MIN_SIDE, 2 * roundHalfToEven(length / 2)), MAX_SIDE);
}

function roundHalfToEven(number) {
	const rounded = Math.round(number);
	return Math.abs(number % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
