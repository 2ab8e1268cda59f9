/** Lists of keyframes: rising in time, one frame apart at least, never changed in place. */

/** Return the time of the frame that is shown at a time: where a keyframe of this frame belongs. */
export function frameTime(time, fps) {
	return Number((Math.floor(time * fps + 1e-3) / fps).toFixed(4));
}

/** Return the index of the keyframe of the frame at a time, or -1. */
export function findKeyframe(keyframes, time, fps) {
	return keyframes.findIndex((keyframe) => Math.abs(keyframe.time - time) < 0.5 / fps);
}

/** Return the keyframes with `values` at a time: the keyframe of this frame with them, or a new one. */
export function putKeyframe(keyframes, time, fps, values) {
	const index = findKeyframe(keyframes, time, fps);
	if (index >= 0) return keyframes.with(index, { ...keyframes[index], ...values });
	return [...keyframes, { ...values, time }].sort((a, b) => a.time - b.time);
}

/** Return the keyframes with one at another time, which stays between its neighbors. */
export function moveKeyframe(keyframes, index, time, fps, limits = { start: 0, end: Infinity }) {
	const low = index > 0 ? keyframes[index - 1].time + 1 / fps : limits.start;
	const high = index < keyframes.length - 1 ? keyframes[index + 1].time - 1 / fps : limits.end;
	if (low > high) return keyframes;
	const moved = Number(Math.min(Math.max(frameTime(time, fps), low), high).toFixed(4));
	return keyframes.with(index, { ...keyframes[index], time: moved });
}

/** Return the keyframes without one; the last one stays. */
export function removeKeyframe(keyframes, index) {
	return keyframes.length > 1 ? keyframes.toSpliced(index, 1) : keyframes;
}
