/**
 * Return the values of a uniform Catmull-Rom spline at a time in seconds; the same numbers as the service computes.
 *
 * `times` rise strictly; `values` has one array per time, all of one length. Before the first and after the last
 * keyframe the values are constant.
 */
export function evaluateSpline(times, values, time) {
	const next = countUpTo(times, time);
	if (next === 0) return values[0];
	if (next === times.length) return values[next - 1];
	const position = (time - times[next - 1]) / (times[next] - times[next - 1]);
	const before = values[Math.max(next - 2, 0)];
	const after = values[Math.min(next + 1, values.length - 1)];
	return values[next - 1].map((value, index) => catmullRom(before[index], value, values[next][index], after[index], position));
}

/** Return how many of the rising `times` are not later than `time`. */
function countUpTo(times, time) {
	let low = 0;
	let high = times.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (time < times[middle]) high = middle;
		else low = middle + 1;
	}
	return low;
}

function catmullRom(p0, p1, p2, p3, position) {
	const linear = p2 - p0;
	const square = 2 * p0 - 5 * p1 + 4 * p2 - p3;
	const cube = 3 * (p1 - p2) + p3 - p0;
	return p1 + 0.5 * position * (linear + position * (square + position * cube));
}
