/** What framing, overlay and annotate have in common: lists in the config, shown as tracks whose ids are the lists' names, and keyframes. */

import { roundTo } from "../words.js";

export class Tool {
	constructor(editor) {
		const { source, stage } = editor;
		Object.assign(this, { editor, source, stage });
	}

	get config() {
		return this.editor.config;
	}

	patch(values, group) {
		this.editor.change({ ...this.config, ...values }, group);
	}

	/** Return the index of the selected item of a list, or -1. */
	findSelected(name) {
		const { selection } = this.editor;
		return selection?.kind === "bar" && selection.trackId === name && this.config[name]?.[selection.id] ? selection.id : -1;
	}

	addItem(name, item) {
		const items = [...(this.config[name] ?? []), item];
		this.patch({ [name]: items });
		this.editor.select({ kind: "bar", trackId: name, id: items.length - 1 });
	}

	patchItem(name, index, values, group) {
		if (index >= 0) this.patch({ [name]: this.config[name].with(index, { ...this.config[name][index], ...values }) }, group);
	}

	remove({ trackId, id }) {
		this.patch({ [trackId]: this.config[trackId].toSpliced(id, 1) });
	}

	/** Return a span inside the source, as the config of overlays and clips names it. */
	limitTimes(start, end) {
		const span = this.editor.limitSpan({ start, end });
		return { start_time: span.start, end_time: span.end };
	}
}

export function roundValues(values) {
	return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, roundTo(value)]));
}

/** Return what the timeline shows of keyframes. */
export function toMarks(keyframes) {
	return keyframes.map(({ time }, id) => ({ id, time, label: `Keyframe ${id + 1}` }));
}

// Lists of keyframes: rising in time, one frame apart at least, never changed in place.

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
