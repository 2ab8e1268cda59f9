/** Play a video forwards and backwards, a frame at a time, and say when its time changes. */

const RATES = [1, 2, 4, 8];

export class Player {
	#video;
	#source;
	#onTime;
	#reverseRate = 0;
	#frame = 0;
	#lastTick = 0;
	#shownTime = -1;

	/** `source` has `url`, `duration` in seconds and `fps`; `onTime()` is called whenever another frame is shown. */
	constructor(video, source, onTime) {
		this.#video = video;
		this.#source = source;
		this.#onTime = onTime;
		video.src = source.url;
		for (const type of ["play", "pause", "seeked", "seeking", "loadeddata", "ratechange"]) video.addEventListener(type, () => this.#schedule());
	}

	get time() {
		return this.#video.currentTime;
	}

	/** Playing speed; negative backwards, 0 while paused. */
	get rate() {
		if (this.#reverseRate) return -this.#reverseRate;
		return this.#video.paused ? 0 : this.#video.playbackRate;
	}

	seek(time) {
		this.#reverseRate = 0;
		this.#video.currentTime = Math.min(Math.max(0, time), Math.max(0, this.#source.duration - 1e-3));
		this.#schedule();
	}

	/** Move by whole frames, to the middle of one, so that rounding can't show its neighbor. */
	step(frames) {
		this.pause();
		this.seek((Math.floor(this.time * this.#source.fps + 1e-3) + frames + 0.5) / this.#source.fps);
	}

	toggle() {
		if (this.rate) this.pause();
		else this.#play(1);
	}

	pause() {
		this.#reverseRate = 0;
		this.#video.pause();
	}

	/** Play faster in a direction with each call, as the keys J and L do in video editors. */
	shuttle(direction) {
		const current = Math.sign(this.rate) === direction ? Math.abs(this.rate) : 0;
		const rate = RATES[Math.min(RATES.indexOf(current) + 1, RATES.length - 1)];
		if (direction > 0) return this.#play(rate);
		this.#video.pause();
		this.#reverseRate = rate;
		this.#lastTick = performance.now();
		return this.#schedule();
	}

	close() {
		cancelAnimationFrame(this.#frame);
		this.#onTime = () => {};
		this.#video.pause();
		this.#video.removeAttribute("src");
		this.#video.load();
	}

	#play(rate) {
		this.#reverseRate = 0;
		if (this.time >= this.#source.duration - 1 / this.#source.fps) this.#video.currentTime = 0;
		this.#video.playbackRate = rate;
		this.#video.play().catch(() => {}); // the browser may refuse, or the page may have paused it again
	}

	#schedule() {
		this.#frame ||= requestAnimationFrame((now) => this.#tick(now));
	}

	#tick(now) {
		this.#frame = 0;
		if (this.#reverseRate && !this.#video.seeking) {
			const rate = this.#reverseRate;
			const time = this.time - ((now - this.#lastTick) / 1000) * rate;
			this.#lastTick = now;
			this.seek(time);
			this.#reverseRate = time > 0 ? rate : 0;
		}
		if (this.time !== this.#shownTime || !this.rate) {
			this.#shownTime = this.time;
			this.#onTime();
		}
		if (this.rate || this.#video.seeking) this.#schedule();
	}
}
