/** Handles on the stage: a box with corners and an ellipse with a rim, moved by pointer or arrow keys. */

import { setAttributes, svg, trackPointer } from "../dom.js";

const GRIP_PIXELS = 7;
const MIN_SIDE = 16;
const MIN_RADIUS = 4;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CORNERS = [
	{ x: 0, y: 0, cursor: "nwse" },
	{ x: 1, y: 0, cursor: "nesw" },
	{ x: 0, y: 1, cursor: "nesw" },
	{ x: 1, y: 1, cursor: "nwse" },
];

/** A shape that is moved by its inside and sized by its grips; `onChange(shape, group)` has one group for each drag. */
class Handle {
	constructor(stage, tag, { label, onChange, onEnd }) {
		Object.assign(this, { stage, onChange, onEnd, shape: null });
		this.body = svg(tag, {
			class: "box",
			tabindex: 0,
			role: "button",
			"aria-label": `${label}. Arrow keys move it, with Alt they size it; Shift takes larger steps.`,
			onpointerdown: (event) => this.drag(event, (start, from, to) => ({ ...start, x: start.x + to.x - from.x, y: start.y + to.y - from.y })),
			onkeydown: (event) => this.#pressKey(event),
		});
	}

	/** Return a grip; dragging it changes the shape to `compute(start, to)`. */
	createGrip(cursor, compute) {
		return svg("circle", { class: `grip ${cursor}`, onpointerdown: (event) => this.drag(event, (start, _from, to) => compute(start, to)) });
	}

	placeGrip(grip, cx, cy) {
		setAttributes(grip, { cx, cy, r: GRIP_PIXELS * this.stage.scale });
	}

	drag(event, compute) {
		if (event.button !== 0) return;
		event.preventDefault();
		this.body.focus({ preventScroll: true });
		const [start, from, group] = [this.shape, this.stage.toSource(event), Symbol("drag")];
		trackPointer(event, { onMove: (moved) => this.onChange(compute(start, from, this.stage.toSource(moved)), group), onEnd: this.onEnd });
	}

	#pressKey(event) {
		const arrow = ARROWS[event.key];
		if (!arrow || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		event.stopPropagation();
		const [dx, dy] = arrow.map((step) => step * (event.shiftKey ? 20 : 2));
		this.onChange(event.altKey ? this.grow(dx, -dy) : { ...this.shape, x: this.shape.x + dx, y: this.shape.y + dy }, "keys");
	}
}

/** A box `{x, y, width, height}`; `ratio()` returns width by height, or null where the shape is free. */
export class Box extends Handle {
	constructor(stage, options) {
		super(stage, "rect", options);
		this.ratio = options.ratio ?? (() => null);
		this.corners = CORNERS.map((corner) => this.createGrip(corner.cursor, (start, to) => resizeRectangle(start, corner, to, this.ratio())));
		this.element = svg("g", {}, this.body, this.corners);
	}

	show({ x, y, width, height }) {
		this.shape = { x, y, width, height };
		setAttributes(this.body, this.shape);
		this.corners.forEach((grip, index) => this.placeGrip(grip, x + CORNERS[index].x * width, y + CORNERS[index].y * height));
	}

	/** Return the box grown about its center. */
	grow(dx, dy) {
		const { x, y, width, height } = this.shape;
		const ratio = this.ratio();
		let wide = Math.max(MIN_SIDE, width + 2 * dx);
		let high = Math.max(MIN_SIDE, height + 2 * dy);
		if (ratio && dx === 0) wide = high * ratio;
		if (ratio) high = wide / ratio;
		return { x: x + (width - wide) / 2, y: y + (height - high) / 2, width: wide, height: high };
	}
}

/** Return the rectangle with one corner at a point; the opposite one stays. */
function resizeRectangle(rectangle, corner, point, ratio) {
	const fixed = { x: rectangle.x + (1 - corner.x) * rectangle.width, y: rectangle.y + (1 - corner.y) * rectangle.height };
	let width = Math.max(MIN_SIDE, corner.x ? point.x - fixed.x : fixed.x - point.x);
	let height = Math.max(MIN_SIDE, corner.y ? point.y - fixed.y : fixed.y - point.y);
	if (ratio) {
		width = Math.max(width, height * ratio);
		height = width / ratio;
	}
	return { x: corner.x ? fixed.x : fixed.x - width, y: corner.y ? fixed.y : fixed.y - height, width, height };
}

/** An ellipse `{x, y, radiusX, radiusY}`. */
export class EllipseHandle extends Handle {
	constructor(stage, options) {
		super(stage, "ellipse", options);
		this.right = this.createGrip("ew", (start, to) => ({ ...start, radiusX: Math.max(MIN_RADIUS, Math.abs(to.x - start.x)) }));
		this.bottom = this.createGrip("ns", (start, to) => ({ ...start, radiusY: Math.max(MIN_RADIUS, Math.abs(to.y - start.y)) }));
		this.element = svg("g", {}, this.body, this.right, this.bottom);
	}

	show({ x, y, radiusX, radiusY }) {
		this.shape = { x, y, radiusX, radiusY };
		setAttributes(this.body, { cx: x, cy: y, rx: radiusX, ry: radiusY });
		this.placeGrip(this.right, x + radiusX, y);
		this.placeGrip(this.bottom, x, y + radiusY);
	}

	grow(dx, dy) {
		const { radiusX, radiusY } = this.shape;
		return { ...this.shape, radiusX: Math.max(MIN_RADIUS, radiusX + dx), radiusY: Math.max(MIN_RADIUS, radiusY + dy) };
	}
}
