/** Play a video forwards and backwards, a frame at a time, and say when its time changes. */

const RATES = [1, 2, 4, 8];

export class Player {
	#video;
	#listeners = new Set();
	#reverseRate = 0;
	#frame = 0;
	#lastTick = 0;
	#reportedTime = -1;

	/** `source` has `url`, `duration` in seconds and `fps`. */
	constructor(video, source) {
		this.#video = video;
		this.source = source;
		video.src = source.url;
		for (const type of ["play", "pause", "seeked", "seeking", "loadeddata", "ratechange"]) {
			video.addEventListener(type, () => this.#schedule());
		}
	}

	get video() {
		return this.#video;
	}

	get time() {
		return this.#video.currentTime;
	}

	get isPlaying() {
		return !this.#video.paused || this.#reverseRate > 0;
	}

	/** Playing speed; negative backwards, 0 while paused. */
	get rate() {
		if (this.#reverseRate) return -this.#reverseRate;
		return this.#video.paused ? 0 : this.#video.playbackRate;
	}

	/** Call `listener(time)` whenever another frame is shown; returns a function that stops it. */
	subscribe(listener) {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	seek(time) {
		this.#stopReverse();
		this.#video.currentTime = this.#limit(time);
		this.#schedule();
	}

	/** Move by whole frames, to the middle of one, so that rounding can't show its neighbor. */
	step(frames) {
		this.pause();
		const index = Math.floor(this.time * this.source.fps + 1e-3) + frames;
		this.seek((index + 0.5) / this.source.fps);
	}

	toggle() {
		if (this.isPlaying) this.pause();
		else this.play(1);
	}

	play(rate) {
		this.#stopReverse();
		if (this.time >= this.source.duration - 1 / this.source.fps) this.#video.currentTime = 0;
		this.#video.playbackRate = rate;
		this.#video.play().catch(() => {}); // the browser may refuse, or the page may have paused it again
	}

	pause() {
		this.#stopReverse();
		this.#video.pause();
	}

	/** Play faster in a direction with each call, as the keys J and L do in video editors. */
	shuttle(direction) {
		const current = Math.sign(this.rate) === direction ? Math.abs(this.rate) : 0;
		const rate = RATES[Math.min(RATES.indexOf(current) + 1, RATES.length - 1)];
		if (direction > 0) this.play(rate);
		else {
			this.#video.pause();
			this.#reverseRate = rate;
			this.#lastTick = performance.now();
			this.#schedule();
		}
	}

	close() {
		cancelAnimationFrame(this.#frame);
		this.#listeners.clear();
		this.#video.pause();
		this.#video.removeAttribute("src");
		this.#video.load();
	}

	#limit(time) {
		return Math.min(Math.max(0, time), Math.max(0, this.source.duration - 1e-3));
	}

	#stopReverse() {
		this.#reverseRate = 0;
	}

	#schedule() {
		this.#frame ||= requestAnimationFrame((now) => this.#tick(now));
	}

	#tick(now) {
		this.#frame = 0;
		if (this.#reverseRate && !this.#video.seeking) {
			const time = this.time - ((now - this.#lastTick) / 1000) * this.#reverseRate;
			this.#lastTick = now;
			if (time <= 0) this.#stopReverse();
			this.#video.currentTime = this.#limit(time);
		}
		if (this.time !== this.#reportedTime || !this.isPlaying) {
			this.#reportedTime = this.time;
			for (const listener of this.#listeners) listener(this.time);
		}
		if (this.isPlaying || this.#video.seeking) this.#schedule();
	}
}

/** Return what the keys of video editors do; null for other keys. */
export function playerCommand(event) {
	if (event.ctrlKey || event.metaKey || event.altKey) return null;
	const frames = event.shiftKey ? 10 : 1;
	switch (event.key.toLowerCase()) {
		case " ":
			return (player) => player.toggle();
		case "j":
			return (player) => player.shuttle(-1);
		case "k":
			return (player) => player.pause();
		case "l":
			return (player) => player.shuttle(1);
		case "arrowleft":
			return (player) => player.step(-frames);
		case "arrowright":
			return (player) => player.step(frames);
		case "home":
			return (player) => player.seek(0);
		case "end":
			return (player) => player.seek(player.source.duration);
		default:
			return null;
	}
}
