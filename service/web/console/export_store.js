/** The exports of the user, as far as the page has seen them, each in its newest state. */

import { isActive } from "./words.js";

export class ExportStore {
	/** Newest first. */
	jobs = [];
	unacknowledged = [];
	#client;
	#handlers;
	#known = new Map();
	#active = new Set();
	#listeners = new Set();
	#frame = 0;

	/** `handlers`: `onConnection`, `onEnd(job)`, `onProblem(problem)`, `onProgress()`. */
	constructor(client, handlers) {
		this.#client = client;
		this.#handlers = handlers;
	}

	/** Load what is active and what ended unseen, and watch everything from now on. */
	async start() {
		const { onConnection, onProblem } = this.#handlers;
		try {
			const { watch, active, unacknowledged } = await this.#client.recover();
			watch.close();
			this.unacknowledged = unacknowledged;
			this.merge([...active, ...unacknowledged]);
		} catch (problem) {
			onProblem(problem);
		}
		this.watch = this.#client.watch(undefined, { onUpdate: (job) => this.#receive(job), onConnection, onProblem });
		this.watch.done.catch(() => {}); // onProblem has said it
	}

	get(id) {
		return this.#known.get(id);
	}

	/** Mean progress of what is active, in percent; null where nothing is. */
	get progress() {
		const active = [...this.#active].map((id) => this.get(id).progress);
		return active.length > 0 ? active.reduce((total, part) => total + part) / active.length : null;
	}

	/** Take in jobs of a response; older states than those known are dropped. */
	merge(jobs) {
		for (const job of jobs) {
			const known = this.get(job.job_id);
			if (known && (known.sequence > job.sequence || isSame(known, job))) continue;
			this.#known.set(job.job_id, job);
			this.jobs.splice(this.findIndex(job), known ? 1 : 0, job);
			if (isActive(job)) this.#active.add(job.job_id);
			else this.#active.delete(job.job_id);
		}
		this.#notify();
	}

	/** Return where the job is in the list, or belongs. */
	findIndex(job) {
		let low = 0;
		let high = this.jobs.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (isNewer(this.jobs[middle], job)) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	/** Drop an export that was erased. */
	forget(id) {
		const known = this.get(id);
		if (known) this.jobs.splice(this.findIndex(known), 1);
		this.#known.delete(id);
		this.#active.delete(id);
		this.#notify();
	}

	/** Call `listener()` at most once a frame after changes; returns a function that stops it. */
	subscribe(listener) {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close() {
		cancelAnimationFrame(this.#frame);
		this.watch?.close();
	}

	#receive(job) {
		if (job.status === "erased") return this.forget(job.job_id);
		const hasEnded = this.#active.has(job.job_id) && !isActive(job);
		this.merge([job]);
		if (hasEnded) this.#handlers.onEnd(job);
	}

	#notify() {
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0;
			this.#handlers.onProgress();
			for (const listener of this.#listeners) listener();
		});
	}
}

/** Tell whether two states of one `sequence` are the same: an acknowledgement and a place in the queue do not count in it. */
function isSame(job, other) {
	return job.sequence === other.sequence && job.acknowledged_at === other.acknowledged_at && JSON.stringify(job.queue) === JSON.stringify(other.queue);
}

function isNewer(job, other) {
	return job.created_at === other.created_at ? job.job_id > other.job_id : job.created_at > other.created_at;
}
