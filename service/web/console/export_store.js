/** The exports of the user, as far as the page has seen them, each in its newest state. */

import { isActive } from "./states.js";

export class ExportStore {
	#client;
	#handlers;
	#jobs = new Map();
	#listeners = new Set();
	#frame = 0;
	#watch = null;

	/** `handlers`: `onConnection`, `onEnd(job)`, `onProblem(problem)`, `onProgress()`. */
	constructor(client, handlers) {
		this.#client = client;
		this.#handlers = handlers;
	}

	/** Load what is active and what ended unseen, and watch everything from now on. */
	async start() {
		this.unacknowledged = [];
		try {
			const recovery = await this.#client.recover();
			recovery.watch.close();
			this.unacknowledged = recovery.unacknowledged;
			this.merge([...recovery.active, ...recovery.unacknowledged]);
		} catch (problem) {
			this.#handlers.onProblem(problem);
		}
		this.#watch = this.#client.watch(undefined, {
			onUpdate: (job) => this.#receive(job),
			onConnection: this.#handlers.onConnection,
			onProblem: this.#handlers.onProblem,
		});
		this.#watch.done.catch(() => {}); // onProblem has said it
	}

	get(id) {
		return this.#jobs.get(id);
	}

	get jobs() {
		return this.#jobs.values();
	}

	/** Mean progress of what is active, in percent; null where nothing is. */
	get progress() {
		const active = [...this.jobs].filter(isActive);
		return active.length > 0 ? active.reduce((total, job) => total + job.progress, 0) / active.length : null;
	}

	/** Take in jobs of a response; older states than those known are dropped. */
	merge(jobs) {
		for (const job of jobs) {
			const known = this.#jobs.get(job.job_id);
			if (!known || known.sequence < job.sequence || known.acknowledged_at !== job.acknowledged_at) this.#jobs.set(job.job_id, job);
		}
		this.#notify();
	}

	/** Call `listener()` at most once a frame after changes; returns a function that stops it. */
	subscribe(listener) {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close() {
		cancelAnimationFrame(this.#frame);
		this.#watch?.close();
		this.#listeners.clear();
	}

	#receive(job) {
		const known = this.#jobs.get(job.job_id);
		this.merge([job]);
		if (!isActive(job) && known && isActive(known)) this.#handlers.onEnd(job);
	}

	#notify() {
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0;
			this.#handlers.onProgress();
			for (const listener of this.#listeners) listener();
		});
	}
}
