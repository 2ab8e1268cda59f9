/** What framing, overlay and annotate have in common: lists in the config, shown as tracks whose ids are the lists' names. */

import { roundTo } from "../format.js";

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

	/** Return what a copy of the selection holds, for `paste`. */
	copy() {
		return null;
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
