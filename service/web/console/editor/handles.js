/** Handles on the stage: a box with corners and an ellipse with a rim, moved by pointer or arrow keys. */

import { setAttributes, svg, trackPointer } from "../dom.js";

const GRIP_PIXELS = 7;
const MIN_SIDE = 16;
const MIN_RADIUS = 4;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]];

/** A shape that is moved by its inside and sized by its grips; `onChange(shape, group)` has one group for each drag. */
class Handle {
	constructor(editor, tag, label, onChange) {
		Object.assign(this, { editor, onChange });
		this.body = svg(`${tag}.box`, {
			tabindex: 0,
			role: "button",
			"aria-label": `${label}. Arrow keys move it, with Alt they size it; Shift takes larger steps.`,
			onpointerdown: (event) => this.#drag(event, (start, to, from) => ({ ...start, x: start.x + to.x - from.x, y: start.y + to.y - from.y })),
			onkeydown: (event) => this.#pressKey(event),
		});
	}

	/** Return a grip; dragging it changes the shape to `compute(start, to)`. */
	createGrip(cursor, compute) {
		return svg("circle.grip", { style: { cursor: `${cursor}-resize` }, onpointerdown: (event) => this.#drag(event, compute) });
	}

	placeGrip(grip, cx, cy) {
		setAttributes(grip, { cx, cy, r: GRIP_PIXELS * this.editor.stage.scale });
	}

	#drag(event, compute) {
		if (event.button !== 0) return;
		event.preventDefault();
		this.body.focus({ preventScroll: true });
		const { stage } = this.editor;
		const [start, from, group] = [this.shape, stage.toSource(event), Symbol("drag")];
		trackPointer(event, (moved) => this.onChange(compute(start, stage.toSource(moved), from), group), () => this.editor.endGroup());
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

/** A box `{x, y, width, height}`; `findRatio()` returns width by height, or null where the shape is free. */
export class Box extends Handle {
	constructor(editor, label, onChange, findRatio) {
		super(editor, "rect", label, onChange);
		this.findRatio = findRatio;
		const corners = findRatio ? CORNERS : []; // a text is sized by its font
		this.corners = corners.map((corner) => this.createGrip(corner[0] === corner[1] ? "nwse" : "nesw", (start, to) => resizeRectangle(start, corner, to, findRatio())));
		this.element = svg("g", this.body, this.corners);
	}

	show({ x, y, width, height }) {
		this.shape = { x, y, width, height };
		setAttributes(this.body, this.shape);
		this.corners.forEach((grip, index) => this.placeGrip(grip, x + CORNERS[index][0] * width, y + CORNERS[index][1] * height));
	}

	/** Return the box grown about its center. */
	grow(dx, dy) {
		const { x, y, width, height } = this.shape;
		const ratio = this.findRatio?.();
		let wide = Math.max(MIN_SIDE, width + 2 * dx);
		let high = Math.max(MIN_SIDE, height + 2 * dy);
		if (ratio && dx === 0) wide = high * ratio;
		if (ratio) high = wide / ratio;
		return { x: x + (width - wide) / 2, y: y + (height - high) / 2, width: wide, height: high };
	}
}

/** Return the rectangle with one corner at a point; the opposite one stays. */
function resizeRectangle({ x, y, width, height }, [right, bottom], point, ratio) {
	const fixed = { x: x + (1 - right) * width, y: y + (1 - bottom) * height };
	let wide = Math.max(MIN_SIDE, right ? point.x - fixed.x : fixed.x - point.x);
	let high = Math.max(MIN_SIDE, bottom ? point.y - fixed.y : fixed.y - point.y);
	if (ratio) {
		wide = Math.max(wide, high * ratio);
		high = wide / ratio;
	}
	return { x: right ? fixed.x : fixed.x - wide, y: bottom ? fixed.y : fixed.y - high, width: wide, height: high };
}

/** An ellipse `{x, y, radiusX, radiusY}`. */
export class EllipseHandle extends Handle {
	constructor(editor, label, onChange) {
		super(editor, "ellipse", label, onChange);
		this.right = this.createGrip("ew", (start, to) => ({ ...start, radiusX: Math.max(MIN_RADIUS, Math.abs(to.x - start.x)) }));
		this.bottom = this.createGrip("ns", (start, to) => ({ ...start, radiusY: Math.max(MIN_RADIUS, Math.abs(to.y - start.y)) }));
		this.element = svg("g", this.body, this.right, this.bottom);
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
