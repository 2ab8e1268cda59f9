const MAX_STATES = 200;

/**
 * The states of a document, for undo and redo.
 *
 * States are replaced, never changed. Changes with the same `group` in a row (one drag, one word) are one step.
 */
export class History {
	past = [];
	future = [];
	#group = null;

	/** `onChange(state)` is called after each change. */
	constructor(state, onChange) {
		Object.assign(this, { state, onChange });
	}

	change(state, group = null) {
		if (group === null || group !== this.#group) this.past = [...this.past, this.state].slice(-MAX_STATES);
		this.future = [];
		this.#show(state, group);
	}

	/** End a group: the next change is a step of its own. */
	endGroup() {
		this.#group = null;
	}

	undo() {
		this.#move(this.past, this.future);
	}

	redo() {
		this.#move(this.future, this.past);
	}

	#move(from, to) {
		if (from.length === 0) return;
		to.push(this.state);
		this.#show(from.pop(), null);
	}

	#show(state, group) {
		this.#group = group;
		this.state = state;
		this.onChange(state);
	}
}
