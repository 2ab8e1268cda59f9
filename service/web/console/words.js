/** Exports, numbers and times as people read them. */

export const STATUSES = { pending: "Waiting", processing: "Running", complete: "Complete", error: "Failed", cancelled: "Cancelled" };
export const TYPES = { framing: "Framing", overlay: "Overlay", annotate: "Annotate" };
const PHASES = {
	queued: "waiting for a runner",
	downloading: "reading the source",
	processing: "encoding",
	uploading: "storing the result",
	finalizing: "checking the result",
};

export function describePhase(phase) {
	return PHASES[phase] ?? phase.replace("_", " ");
}

export function isActive(job) {
	return job.status === "pending" || job.status === "processing";
}

/** Return one sentence on how an export is. */
export function describeState(job) {
	const { status, error, output, queue } = job;
	if (error) return error.message;
	if (output) return join(describeOutput(output), job.cost_usd > 0 && formatDollars(job.cost_usd));
	if (!isActive(job)) return status === "complete" ? "The file has expired" : STATUSES[status];
	const time = describeTime(job.eta_seconds, job.eta_high_seconds);
	const end = time && `done in ${time}`;
	return queue ? describeQueue(job, end) : join(describePhase(job.phase), `${Math.floor(job.progress)} %`, end);
}

/** Return how long something takes, as in `about 2 min, at most 5 min`; nothing if that is not known. */
export function describeTime(seconds, highSeconds) {
	if (!seconds) return null;
	const [about, most] = [formatAbout(seconds), formatAbout(highSeconds)];
	return join(`about ${about}`, about !== most && `at most ${most}`);
}

/** Return the place of a waiting export, what it waits for, and when it ends. */
function describeQueue({ queue, not_before: start }, end) {
	const { position, ahead_seconds: ahead, limited_by: reason } = queue;
	if (reason?.includes("not_before")) return `starts at ${formatMoment(start)}`;
	return join(`${position}. in the queue`, reason && `waits for: ${reason}`, ahead && `starts in about ${formatAbout(ahead)}`, end);
}

/** Return what an export has cost; `runner` says where its runs are. */
export function describeCost({ cost_usd: dollars, runner, started_at: start }) {
	if (dollars === null) return "unknown";
	return runner === "local" ? start && "free, ran locally" : formatDollars(dollars);
}

export function join(...parts) {
	return parts.filter(Boolean).join(", ");
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

/** Return a time as `1:02:03.45`; hours only where there are any. */
export function formatTimecode(seconds, digits = 2) {
	const whole = roundTo(Math.max(0, seconds), digits);
	const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
	const minutes = Math.floor(whole / 60);
	if (minutes < 60) return `${minutes}:${rest}`;
	return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** Parse `1:02:03.4`, `2:03` or `3.5`; returns null for anything else. */
export function parseTimecode(text) {
	if (!/^\s*\d+(:\d{1,2}){0,2}(\.\d+)?\s*$/.test(text)) return null;
	return text.split(":").reduce((total, part) => total * 60 + Number(part), 0);
}

/** Return the time of an answer, such as `85 ms` or `1.2 s`. */
export function formatLatency(seconds) {
	return seconds === null || seconds >= 0.995 ? formatDuration(seconds) : `${Math.round(seconds * 1000)} ms`;
}

/** Return a length of time such as `0.4 s`, `12 s`, `3 min 20 s` or `2 h 5 min`. */
export function formatDuration(seconds) {
	if (seconds === null) return "–";
	if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
	const whole = Math.round(seconds);
	if (whole < 60) return `${whole} s`;
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
	return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Return about how long something takes: `12 s`, `3 min`, `1.5 h`. */
export function formatAbout(seconds) {
	if (seconds < 90) return `${Math.ceil(seconds)} s`;
	return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${roundTo(seconds / 3600, 1)} h`;
}

export function formatBytes(bytes) {
	const unit = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
	const amount = bytes / 1000 ** unit;
	return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

export function formatDollars(dollars) {
	return `$${dollars.toFixed(dollars < 0.1 ? 4 : 2)}`;
}

// Created when they are needed: the first one takes a browser tens of milliseconds.
let momentFormat = null;
let agoFormat = null;

export function formatMoment(time) {
	momentFormat ??= new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
	return momentFormat.format(new Date(time));
}

export function formatTime(time) {
	return new Date(time).toLocaleTimeString();
}

/** Return `5 minutes ago`, `yesterday`. */
export function formatAgo(time) {
	const seconds = Math.min(0, (new Date(time) - Date.now()) / 1000);
	const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 0]].find((entry) => -seconds >= entry[1]);
	agoFormat ??= new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
	return agoFormat.format(Math.round(seconds / (length || 1)), unit);
}

/** Return `1 export`, `2 exports`. */
export function formatCount(count, noun) {
	const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
	return `${count} ${count === 1 ? noun : plural}`;
}

/** Return lines such as `key=value`. */
export function formatPairs(pairs = {}) {
	return Object.entries(pairs).map((pair) => pair.join("=")).join("\n");
}

/** Return the pairs of lines such as `key=value` as an object; throws a sentence for another line. */
export function parsePairs(text, sign = "=") {
	const lines = text.split("\n").filter((line) => line.trim());
	return Object.fromEntries(lines.map((line) => {
		const at = line.indexOf(sign);
		if (at < 1) throw new Error(`There is no "${sign}" in the line "${line}".`);
		return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
	}));
}

/** Return a number with at most `digits` decimals. */
export function roundTo(number, digits = 2) {
	return Number(number.toFixed(digits));
}
