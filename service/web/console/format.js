/** Numbers and times as people read them. */

/** Return a time as `1:02:03.45`; hours only where there are any. */
export function formatTimecode(seconds, digits = 2) {
	const scale = 10 ** digits;
	const whole = Math.round(Math.max(0, seconds) * scale);
	const rest = ((whole % (60 * scale)) / scale).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
	const minutes = Math.floor(whole / (60 * scale));
	if (minutes < 60) return `${minutes}:${rest}`;
	return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** Parse `1:02:03.4`, `2:03` or `3.5`; returns null for anything else. */
export function parseTimecode(text) {
	if (!/^\s*\d+(:\d{1,2}){0,2}(\.\d+)?\s*$/.test(text)) return null;
	return text.split(":").reduce((total, part) => total * 60 + Number(part), 0);
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

export function formatBytes(bytes) {
	const unit = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
	const amount = bytes / 1000 ** unit;
	return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

export function formatDollars(dollars) {
	return `$${dollars.toFixed(dollars < 0.1 ? 4 : 2)}`;
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export function formatMoment(time) {
	return MOMENT.format(new Date(time));
}

export function formatTime(time) {
	return new Date(time).toLocaleTimeString();
}

/** Return `5 minutes ago`, `yesterday`. */
export function formatAgo(time) {
	const seconds = Math.min(0, (new Date(time) - Date.now()) / 1000);
	for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
		if (-seconds >= length) return RELATIVE.format(Math.round(seconds / length), unit);
	}
	return RELATIVE.format(Math.round(seconds), "second");
}

/** Return a number with at most `digits` decimals. */
export function roundTo(number, digits = 2) {
	return Number(number.toFixed(digits));
}
