/** Lists of keyframes: rising in time, one frame apart at least, never changed in place. */

import { roundTo } from "../format.js";

/** Return the time of the frame that is shown at a time: where a keyframe of this frame belongs. */
export function frameTime(time, fps) {
	return roundTo(Math.floor(time * fps + 1e-3) / fps, 4);
}

/** Return the index of the keyframe of the frame at a time, or -1. */
export function findKeyframe(keyframes, time, fps) {
	return keyframes.findIndex((keyframe) => Math.abs(keyframe.time - time) < 0.5 / fps);
}

/** Return the keyframes with `values` at a time: in the keyframe of this frame, or in a new one. */
export function putKeyframe(keyframes, time, fps, values) {
	const index = findKeyframe(keyframes, time, fps);
	if (index >= 0) return keyframes.with(index, { ...keyframes[index], ...values });
	return [...keyframes, { ...values, time }].sort((a, b) => a.time - b.time);
}

/** Return the keyframes with one at another time, which stays between its neighbors and within `start` and `end`. */
export function moveKeyframe(keyframes, index, time, fps, start, end) {
	const low = index > 0 ? keyframes[index - 1].time + 1 / fps : start;
	const high = index < keyframes.length - 1 ? keyframes[index + 1].time - 1 / fps : end;
	if (low > high) return keyframes;
	return keyframes.with(index, { ...keyframes[index], time: roundTo(Math.min(Math.max(frameTime(time, fps), low), high), 4) });
}

/** Return the keyframes without one; the last one stays. */
export function removeKeyframe(keyframes, index) {
	return keyframes.length > 1 ? keyframes.toSpliced(index, 1) : keyframes;
}
