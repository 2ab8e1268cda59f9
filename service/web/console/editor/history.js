const MAX_STATES = 200;

/**
 * The states of a document, for undo and redo.
 *
 * States are never changed, only replaced. Changes with the same `group` in a row (one drag, one word) are one step.
 */
export class History {
	#past = [];
	#future = [];
	#group = null;
	#listeners = new Set();

	constructor(state) {
		this.state = state;
	}

	get canUndo() {
		return this.#past.length > 0;
	}

	get canRedo() {
		return this.#future.length > 0;
	}

	change(state, group = null) {
		if (state === this.state) return;
		if (group === null || group !== this.#group) {
			this.#past.push(this.state);
			if (this.#past.length > MAX_STATES) this.#past.shift();
		}
		this.#group = group;
		this.#future = [];
		this.#show(state);
	}

	/** End a group: the next change is a step of its own. */
	endGroup() {
		this.#group = null;
	}

	undo() {
		this.#move(this.#past, this.#future);
	}

	redo() {
		this.#move(this.#future, this.#past);
	}

	/** Call `listener(state)` after each change; returns a function that stops it. */
	subscribe(listener) {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	#move(from, to) {
		if (from.length === 0) return;
		to.push(this.state);
		this.#group = null;
		this.#show(from.pop());
	}

	#show(state) {
		this.state = state;
		for (const listener of this.#listeners) listener(state);
	}
}
