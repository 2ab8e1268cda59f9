/** Build and update elements without markup in strings: text is always text. */

/** Tell whether there is a value: null, undefined and false leave out what they stand for. */
const isGiven = (value) => value !== null && value !== undefined && value !== false;
const PROPERTIES = new Set(["checked", "disabled", "hidden", "open", "value"]);

/**
 * Return a new element, as in `h("p.muted", { title }, "Text", child)`; attributes and children may be missing.
 *
 * `on…` functions are listeners, `style` is an object; null and false leave an attribute or a child out. A child may be
 * a node, a text, a field, or an array of these.
 */
export function h(tag, ...parts) {
	return fill(document.createElement(tag.split(".")[0]), tag, parts);
}

/** Return a new SVG element; see `h`. */
export function svg(tag, ...parts) {
	return fill(document.createElementNS("http://www.w3.org/2000/svg", tag.split(".")[0]), tag, parts);
}

function fill(element, tag, parts) {
	element.classList.add(...tag.split(".").slice(1));
	if (parts[0]?.constructor === Object) setAttributes(element, parts.shift());
	replaceChildren(element, parts);
	return element;
}

export function button(label, onclick, attributes) {
	return h("button", { type: "button", onclick, ...attributes }, label);
}

/** Return a form; `submit()` is called for its button. */
export function form(tag, submit, ...children) {
	const onsubmit = (event) => {
		event.preventDefault();
		submit();
	};
	return h(`form.${tag}`, { onsubmit }, children);
}

/** Return a list of names and values; empty values are left out. */
export function factList(facts) {
	return h("dl", Object.entries(facts).map(([name, value]) => isGiven(value) && [h("dt", name), h("dd", { dir: "auto" }, value)]));
}

export function setAttributes(element, attributes) {
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") element.addEventListener(name.slice(2), value);
		else if (name === "style") for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
		else if (PROPERTIES.has(name)) element[name] = value;
		else if (!isGiven(value)) element.removeAttribute(name);
		else element.setAttribute(name, value === true ? "" : value);
	}
}

export function replaceChildren(element, ...children) {
	const given = children.flat(Infinity).filter(isGiven);
	element.replaceChildren(...given.map((child) => child.element ?? child));
}

/** Set the text of an element only where it differs, so that a selection in it survives. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

export function table(headings, rows) {
	const body = rows.map((cells) => h("tr", cells.map((cell) => h("td", { dir: "auto" }, cell))));
	return h("div.scroll", h("table", h("thead", h("tr", headings.map((name) => h("th", { scope: "col" }, name)))), h("tbody", body)));
}

/**
 * Keep the children of `parent` in step with `items`: one element per key, reused, moved or removed.
 *
 * `create(item)` returns an element, `update(element, item)` brings it up to date.
 */
export function reconcile(parent, items, keyOf, create, update) {
	const keys = items.map((item) => String(keyOf(item)));
	const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
	for (const [key, element] of existing) if (!keys.includes(key)) element.remove(); // first, so that the others keep their place
	let next = parent.firstElementChild;
	items.forEach((item, index) => {
		const element = existing.get(keys[index]) ?? create(item);
		element.dataset.key = keys[index];
		update(element, item);
		if (element === next) next = next.nextElementSibling;
		else parent.insertBefore(element, next);
	});
}

/**
 * Follow the pointer from a `pointerdown` until it is released.
 *
 * `onMove(event)` is called at most once a frame, `onEnd()` at last, also if the browser takes the pointer away.
 */
export function trackPointer(down, onMove, onEnd) {
	const target = down.currentTarget;
	let latest = null;
	let frame = 0;
	const flush = () => {
		frame = 0;
		if (latest) onMove(latest);
		latest = null;
	};
	target.setPointerCapture(down.pointerId);
	target.onpointermove = (event) => {
		latest = event;
		frame ||= requestAnimationFrame(flush);
	};
	target.onlostpointercapture = () => {
		cancelAnimationFrame(frame);
		flush();
		target.onpointermove = target.onlostpointercapture = null;
		onEnd();
	};
}
