/** The ellipse of a highlight region at a time; the same numbers as the service computes. */

import { evaluateSpline } from "./spline.js";

const DEFAULT_COLOR = "#ffff00";
const BOUND_SECONDS = 0.04;
const GROUND_ASPECT = 0.3;

export const DEFAULT_SETTINGS = { shape: "body", dim_strength: 0.2, fill_enabled: false, fill_opacity: 0.2, stroke_width: 2, fade: 0.25 };

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
