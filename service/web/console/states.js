/** The states of an export in words. */

import { formatDuration } from "./format.js";

const STATES = { pending: "Waiting", processing: "Running", complete: "Complete", error: "Failed", cancelled: "Cancelled" };
const PHASES = {
	queued: "waiting for a runner",
	starting: "starting",
	cold_start: "cold start",
	downloading: "reading the source",
	processing: "encoding",
	uploading: "storing the result",
	finalizing: "checking the result",
	done: "done",
};
const TYPES = { framing: "Framing", overlay: "Overlay", annotate: "Annotate" };

export const STATUSES = Object.entries(STATES);

export function describeStatus(status) {
	return STATES[status] ?? status;
}

export function describePhase(phase) {
	return PHASES[phase] ?? phase;
}

export function describeType(type) {
	return TYPES[type] ?? type;
}

export function isActive(job) {
	return job.status === "pending" || job.status === "processing";
}

export function canRetry(job) {
	return job.status === "error" || job.status === "cancelled";
}

/** Return one sentence on how an export is. */
export function describeState(job) {
	if (job.error) return job.error.message;
	if (!isActive(job)) return describeStatus(job.status);
	const rest = job.eta_seconds ? `, ${formatDuration(job.eta_seconds)} left` : "";
	return `${describePhase(job.phase)}, ${Math.floor(job.progress)} %${rest}`;
}

/** Return what people call an export: its name, else its source's file name. */
export function nameOf(job) {
	return job.name || job.input_key.split("/").at(-1);
}
