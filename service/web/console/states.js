/** Exports in words. */

import { formatBytes, formatDuration } from "./format.js";

export const STATUSES = { pending: "Waiting", processing: "Running", complete: "Complete", error: "Failed", cancelled: "Cancelled" };
export const TYPES = { framing: "Framing", overlay: "Overlay", annotate: "Annotate" };
const PHASES = {
	queued: "waiting for a runner",
	starting: "starting",
	cold_start: "cold start",
	downloading: "reading the source",
	processing: "encoding",
	uploading: "storing the result",
	finalizing: "checking the result",
};

export function describePhase(phase) {
	return PHASES[phase] ?? phase;
}

export function isActive(job) {
	return job.status === "pending" || job.status === "processing";
}

/** Return one sentence on how an export is. */
export function describeState(job) {
	if (job.error) return job.error.message;
	if (job.output) return describeOutput(job.output);
	if (!isActive(job)) return STATUSES[job.status];
	const rest = job.eta_seconds ? `, ${formatDuration(job.eta_seconds)} left` : "";
	return `${describePhase(job.phase)}, ${Math.floor(job.progress)} %${rest}`;
}

export function describeOutput({ width, height, duration, size }) {
	return `${width}×${height}, ${formatDuration(duration)}, ${formatBytes(size)}`;
}

/** Return what people call an export: its name, else its source's file name. */
export function nameOf(job) {
	return job.name || job.input_key.split("/").at(-1);
}

export function hrefOf(job) {
	return `#/exports/${encodeURIComponent(job.job_id)}`;
}
