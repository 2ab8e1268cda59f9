/** Build and update elements without markup in strings: text is always text. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["checked", "className", "disabled", "hidden", "indeterminate", "open", "selected", "value"]);

/**
 * Return a new element.
 *
 * `attributes`: `on…` functions are listeners, `style` and `dataset` are objects, null and false leave an attribute
 * out, true sets it empty. Children are nodes, strings, numbers or arrays of these; null and false are left out.
 */
export function h(tag, attributes = {}, ...children) {
	return fill(document.createElement(tag), attributes, children);
}

/** Return a new SVG element; see `h`. */
export function svg(tag, attributes = {}, ...children) {
	return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
	setAttributes(element, attributes);
	append(element, children);
	return element;
}

export function setAttributes(element, attributes) {
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
		else if (name === "style") for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
		else if (name === "dataset") Object.assign(element.dataset, value);
		else if (PROPERTIES.has(name) && !(element instanceof SVGElement)) element[name] = value;
		else if (value === null || value === undefined || value === false) element.removeAttribute(name);
		else element.setAttribute(name, value === true ? "" : value);
	}
}

function append(element, children) {
	for (const child of children.flat(Infinity)) {
		if (child === null || child === undefined || child === false) continue;
		element.append(child instanceof Node ? child : String(child));
	}
}

/** Return a table with `headings` and rows of cells; a cell is a node, a text or `[attributes, ...children]`. */
export function table(headings, rows) {
	const body = rows.map((cells) => h("tr", {}, cells.map((cell) => (Array.isArray(cell) ? h("td", ...cell) : h("td", {}, cell)))));
	return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, headings.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, body)));
}

/** Replace the children of an element. */
export function replaceChildren(element, ...children) {
	element.replaceChildren();
	append(element, children);
}

/** Set the text of an element only where it differs, so that a selection in it survives. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

/**
 * Keep the children of `parent` in step with `items`: one element per key, reused, moved or removed.
 *
 * `create(item)` returns an element, `update(element, item)` brings it up to date.
 */
export function reconcile(parent, items, keyOf, create, update) {
	const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
	let previous = null;
	for (const item of items) {
		const key = String(keyOf(item));
		let element = existing.get(key);
		if (element) existing.delete(key);
		else {
			element = create(item);
			element.dataset.key = key;
		}
		update(element, item);
		const expected = previous ? previous.nextElementSibling : parent.firstElementChild;
		if (expected !== element) parent.insertBefore(element, expected);
		previous = element;
	}
	for (const element of existing.values()) element.remove();
}

/**
 * Follow the pointer from a `pointerdown` until it is released.
 *
 * `onMove(event)` is called at most once a frame; `onEnd(cancelled)` at last, also if the browser takes the pointer away.
 */
export function trackPointer(down, { onMove, onEnd = () => {} }) {
	const target = down.currentTarget;
	const controller = new AbortController();
	let latest = null;
	let frame = 0;
	const flush = () => {
		frame = 0;
		if (latest) onMove(latest);
		latest = null;
	};
	const end = (event) => {
		cancelAnimationFrame(frame);
		if (event.type === "pointerup") flush();
		controller.abort();
		onEnd(event.type === "pointercancel");
	};
	target.setPointerCapture(down.pointerId);
	const options = { signal: controller.signal };
	target.addEventListener("pointermove", (event) => {
		latest = event;
		frame ||= requestAnimationFrame(flush);
	}, options);
	target.addEventListener("pointerup", end, options);
	target.addEventListener("pointercancel", end, options);
}
