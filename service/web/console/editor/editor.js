/** The page on which an export is set up by eye: stage, preview, timeline, inspector and config. */

import { button, h, replaceChildren, setText } from "../dom.js";
import { formatTimecode } from "../words.js";
import { AnnotateTool } from "./annotate.js";
import { ConfigText, createSnippets } from "./config_text.js";
import { segmentedField, selectField } from "./fields.js";
import { FramingTool } from "./framing.js";
import { History } from "./history.js";
import { OverlayTool } from "./overlay.js";
import { Player } from "./player.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { frameTime } from "./tool.js";

const TOOLS = { framing: FramingTool, overlay: OverlayTool, annotate: AnnotateTool };
const QUALITIES = [["draft", "Draft"], ["standard", "Standard"], ["high", "High"]];

/**
 * An editor of one source.
 *
 * `source`: `key`, `name`, `url`, `width`, `height`, `fps`, `duration`. `draft`: `{type, config}` to begin with.
 * `onChange()` is called after each change, `onSubmit(request)` for the button, `say(text)` tells the user something.
 * `estimate` and `options` are elements of the page that it gives a place.
 */
export class Editor {
	selection = null;
	#clipboard = null;
	#typed = null;
	#tools = {};
	#drafts = {};

	constructor({ source, draft, onChange, hasToken, ...more }) {
		Object.assign(this, { source, onChange, hasToken, ...more });
		this.history = new History(draft ?? { type: "framing", config: FramingTool.createConfig(source) }, () => {
			this.#typed = null;
			this.submit.disabled = false;
			this.onChange();
			this.refresh();
		});
		this.stage = new Stage(source, () => this.refresh());
		this.player = new Player(this.stage.video, source, () => this.#showTime());
		this.strip = new Strip(this);
		this.configText = new ConfigText((config) => this.#readConfig(config));
		this.#createPage();
		this.refresh();
	}

	get type() {
		return this.history.state.type;
	}

	get config() {
		return this.history.state.config;
	}

	/** The time of the frame that is shown. */
	get time() {
		return frameTime(this.player.time, this.source.fps);
	}

	get tool() {
		return (this.#tools[this.type] ??= new TOOLS[this.type](this));
	}

	/** The request that creates the export. */
	get request() {
		return { type: this.type, config: this.#typed ?? { input_key: this.source.key, ...this.config } };
	}

	change(config, group) {
		const values = Object.entries(config).filter(([, value]) => value !== undefined);
		this.history.change({ type: this.type, config: Object.fromEntries(values) }, group);
	}

	endGroup() {
		this.history.endGroup();
	}

	seek(time) {
		this.player.seek(time);
	}

	/** Select a bar or mark of the timeline: `{kind, trackId, id}`, or null. */
	select(item) {
		if (item && this.isSelected(item)) return;
		this.selection = item;
		this.refresh();
	}

	isSelected({ kind, trackId, id }) {
		const { selection } = this;
		return selection !== null && selection.kind === kind && selection.trackId === trackId && selection.id === id;
	}

	remove(item) {
		this.tool.remove(item);
		this.select(null);
	}

	/** Return the span inside the source, one frame long at least. */
	limitSpan({ start, end }) {
		const { duration, fps } = this.source;
		const length = Math.min(Math.max(end - start, 1 / fps), duration);
		const begin = Math.min(Math.max(0, start), duration - length);
		return { start: Number(begin.toFixed(4)), end: Number((begin + length).toFixed(4)) };
	}

	/** Bring everything up to date with the config, the selection and the time. */
	refresh() {
		const { tool, history } = this;
		if (this.shownTool !== tool) this.#showTool(tool);
		this.typeField.show(this.type);
		this.quality.show(this.config.quality ?? "standard");
		this.undo.disabled = history.past.length === 0;
		this.redo.disabled = history.future.length === 0;
		this.configText.show(this.request.config);
		this.strip.showTracks(tool.tracks);
		this.#showTime();
	}

	/** Draw what was typed, or show what the service has found wrong with it. */
	judgeTyped(problem) {
		if (!this.#typed) return;
		const { input_key: _key, ...config } = this.#typed;
		if (problem) this.showProblem(problem);
		else this.history.change({ type: this.type, config }, "text");
	}

	showProblem(text) {
		this.configText.showProblem(text);
	}

	close() {
		for (const part of [this.player, this.stage, this.strip]) part.close();
	}

	#createPage() {
		const { player, history } = this;
		this.typeField = segmentedField("Export type", Object.entries(TOOLS).map(([type, Tool]) => [type, Tool.label]), (type) => this.#chooseType(type));
		this.quality = selectField("Quality", QUALITIES, (quality) => this.change({ ...this.config, quality: quality === "standard" ? undefined : quality }));
		this.undo = button("Undo", () => history.undo(), { title: "Ctrl+Z" });
		this.redo = button("Redo", () => history.redo(), { title: "Ctrl+Shift+Z" });
		this.submit = button("Export", () => this.onSubmit(this.request), { class: "primary" });
		this.hint = h("p.muted");
		this.timecode = h("output.timecode", { "aria-label": "Time" });
		this.playButton = button("Play", () => player.toggle(), { class: "play", title: "Space" });
		this.previewPlace = h("div.preview-place");
		this.inspectorPlace = h("div.page");
		const copies = ["curl", "CLI", "JavaScript"].map((name) => button(`Copy as ${name}`, () => this.#copySnippet(name)));
		const transport = [
			button("◀◀", () => player.shuttle(-1), { "aria-label": "Play backwards", title: "J" }),
			button("◀", () => player.step(-1), { "aria-label": "One frame back", title: "←" }),
			this.playButton,
			button("▶", () => player.step(1), { "aria-label": "One frame on", title: "→" }),
			button("▶▶", () => player.shuttle(1), { "aria-label": "Play faster", title: "L" }),
			this.timecode,
		];
		this.element = h(
			"div.editor",
			{ onkeydown: (event) => this.#pressKey(event) },
			h("div.editor-bar", this.typeField, h("div.buttons", this.undo, this.redo), this.quality, this.submit),
			h("div.page-head", this.hint, this.estimate),
			h("div.views", this.stage, this.previewPlace),
			h("div.buttons.transport", transport),
			this.strip,
			h("div.panels", this.inspectorPlace, h("details", { open: true }, h("summary", "Config"), h("div.page", this.configText, h("div.buttons", copies))), this.options),
		);
	}

	#showTool(tool) {
		const { stage } = this;
		this.shownTool = tool;
		stage.context.clearRect(0, 0, this.source.width, this.source.height);
		stage.video.style.transform = "";
		stage.handles.replaceChildren(tool.handles);
		replaceChildren(this.previewPlace, tool.preview);
		this.previewPlace.hidden = !tool.preview;
		replaceChildren(this.inspectorPlace, tool.inspector);
		setText(this.hint, TOOLS[this.type].hint);
	}

	#showTime() {
		const { time } = this;
		const { rate } = this.player;
		this.tool.show(time);
		this.strip.showTime(this.player.time);
		setText(this.timecode, `${formatTimecode(time)} / ${formatTimecode(this.source.duration)}`);
		setText(this.playButton, rate === 0 ? "Play" : Math.abs(rate) === 1 ? "Pause" : `Pause ${rate}×`);
	}

	#chooseType(type) {
		if (type === this.type) return;
		this.#drafts[this.type] = this.config;
		this.selection = null;
		this.history.change({ type, config: this.#drafts[type] ?? TOOLS[type].createConfig(this.source) });
	}

	/** Take over what was typed: it is what the button exports, and is drawn once it is known to be valid. */
	#readConfig(typed) {
		this.submit.disabled = typed === null;
		this.#typed = typed;
		if (typed) this.onChange();
	}

	async #copySnippet(name) {
		await navigator.clipboard.writeText(createSnippets(this.request, this.hasToken)[name]);
		this.say(`Copied as ${name}.`);
	}

	#pressKey(event) {
		if (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select")) return;
		const key = event.key.toLowerCase();
		const action = event.ctrlKey || event.metaKey ? this.#findCommand(key, event.shiftKey) : this.#findAction(event, key);
		if (!action) return;
		event.preventDefault();
		action();
	}

	#findCommand(key, isShifted) {
		const { history, selection } = this;
		if (key === "z") return () => (isShifted ? history.redo() : history.undo());
		if (key === "y") return () => history.redo();
		if (key === "c" && selection && !String(getSelection())) return () => this.#copy();
		if (key === "v" && this.#clipboard?.type === this.type) return () => this.tool.paste(this.#clipboard.value);
		return null;
	}

	/** Return what a key does, as in video editors; nothing for other keys. */
	#findAction(event, key) {
		const { tool, selection, player } = this;
		if (event.target.closest("button, a, summary, input, [role=slider]") && [" ", "enter"].includes(key)) return null;
		if (event.altKey || (event.target.closest("[type=range]") && /^(arrow|home|end|page)/.test(key))) return null;
		const frames = event.shiftKey ? 10 : 1;
		const actions = {
			i: tool.markIn && (() => tool.markIn()),
			o: tool.markOut && (() => tool.markOut()),
			enter: () => tool.addKeyframe(),
			delete: selection && (() => this.remove(selection)),
			" ": () => player.toggle(),
			j: () => player.shuttle(-1),
			k: () => player.pause(),
			l: () => player.shuttle(1),
			arrowleft: () => player.step(-frames),
			arrowright: () => player.step(frames),
			home: () => player.seek(0),
			end: () => player.seek(Infinity),
		};
		return actions[key];
	}

	#copy() {
		const value = this.tool.copy?.(this.selection); // what `paste` takes
		if (!value) return;
		this.#clipboard = { type: this.type, value };
		this.say("Keyframe copied.");
	}
}
