/** The page on which an export is set up by eye: stage, preview, timeline, inspector and config. */

import { h, replaceChildren, setText } from "../dom.js";
import { formatTimecode } from "../format.js";
import { AnnotateTool } from "./annotate.js";
import { findObstacle } from "./checks.js";
import { ConfigText } from "./config_text.js";
import { button, segmentedField, selectField } from "./fields.js";
import { FramingTool } from "./framing.js";
import { History } from "./history.js";
import { frameTime } from "./keyframes.js";
import { OverlayTool } from "./overlay.js";
import { Player, playerCommand } from "./player.js";
import { createSnippets } from "./snippets.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";

const TOOLS = { framing: FramingTool, overlay: OverlayTool, annotate: AnnotateTool };

/**
 * An editor of one source.
 *
 * `source`: `key`, `name`, `url`, `width`, `height`, `fps`, `duration`. `draft`: `{type, config}` to begin with.
 * `onChange(draft)` is called after each change, `onSubmit(request)` for the button, `say(text)` tells the user something.
 */
export class Editor {
	selection = null;
	#clipboard = null;
	#typed = null;
	#closers = [];

	constructor({ source, draft, onChange, onSubmit, say, context }) {
		Object.assign(this, { source, say, context, onSubmit });
		this.history = new History(draft ?? { type: "framing", config: FramingTool.createConfig(source) });
		this.stage = new Stage(source, `The video ${source.name}`);
		this.player = new Player(this.stage.video, source);
		this.tools = {};
		this.drafts = {};
		this.strip = new Strip(source, {
			seek: (time) => this.player.seek(time),
			select: (item) => this.select(item),
			moveMark: (...parts) => this.tool.moveMark(...parts),
			moveBar: (...parts) => this.tool.moveBar(...parts),
			remove: (item) => this.#remove(item),
			endDrag: () => this.endGroup(),
		});
		this.configText = new ConfigText((config) => this.#readConfig(config));
		this.#createPage();
		this.#closers.push(
			this.player.subscribe(() => this.#showTime()),
			this.history.subscribe((state) => {
				this.#typed = null;
				this.submit.disabled = false;
				onChange(state);
				this.refresh();
			}),
		);
		this.stage.onresize = () => this.refresh();
		this.refresh();
	}

	get type() {
		return this.history.state.type;
	}

	get config() {
		return this.history.state.config;
	}

	/** Return the time of the frame that is shown. */
	get time() {
		return frameTime(this.player.time, this.source.fps);
	}

	get tool() {
		this.tools[this.type] ??= new TOOLS[this.type](this);
		return this.tools[this.type];
	}

	/** Return the request that creates the export. */
	get request() {
		return { type: this.type, config: this.#typed ?? { input_key: this.source.key, ...dropUndefined(this.config) } };
	}

	change(config, group = null) {
		this.history.change({ type: this.type, config: dropUndefined(config) }, group);
	}

	endGroup() {
		this.history.endGroup();
	}

	seek(time) {
		this.player.seek(time);
	}

	select(item) {
		const { kind, trackId, id } = this.selection ?? {};
		if (item && kind === item.kind && trackId === item.trackId && id === item.id) return;
		this.selection = item;
		this.refresh();
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
		const { tool } = this;
		if (this.shownTool !== tool) this.#showTool(tool);
		this.typeField.show(this.type);
		this.quality.show(this.config.quality ?? "standard");
		this.undo.disabled = !this.history.canUndo;
		this.redo.disabled = !this.history.canRedo;
		this.configText.show(this.request.config);
		this.strip.showTracks(tool.tracks, this.selection);
		this.#showTime();
	}

	showProblem(text) {
		this.configText.showProblem(text);
	}

	close() {
		for (const close of this.#closers) close();
		this.player.close();
		this.stage.close();
		this.strip.close();
	}

	#createPage() {
		this.typeField = segmentedField("Export type", Object.entries(TOOLS).map(([type, Tool]) => [type, Tool.label]), (type) => this.#chooseType(type));
		this.quality = selectField("Quality", [["draft", "Draft"], ["standard", "Standard"], ["high", "High"]], (quality) => this.change({ ...this.config, quality: quality === "standard" ? undefined : quality }));
		this.undo = button("Undo", () => this.history.undo(), { title: "Ctrl+Z" });
		this.redo = button("Redo", () => this.history.redo(), { title: "Ctrl+Shift+Z" });
		this.submit = button("Export", () => this.onSubmit(this.request), { class: "primary" });
		this.hint = h("p", { class: "hint" });
		this.timecode = h("output", { class: "timecode", "aria-label": "Time" });
		this.playButton = button("Play", () => this.player.toggle(), { class: "play", title: "Space" });
		const transport = h(
			"div",
			{ class: "transport" },
			button("◀◀", () => this.player.shuttle(-1), { "aria-label": "Play backwards", title: "J" }),
			button("◀", () => this.player.step(-1), { "aria-label": "One frame back", title: "←" }),
			this.playButton,
			button("▶", () => this.player.step(1), { "aria-label": "One frame on", title: "→" }),
			button("▶▶", () => this.player.shuttle(1), { "aria-label": "Play faster", title: "L" }),
			this.timecode,
		);
		this.previewPlace = h("div", { class: "preview-place" });
		this.inspectorPlace = h("div", {});
		const copies = ["curl", "CLI", "JavaScript"].map((name) => button(`Copy as ${name}`, () => this.#copySnippet(name)));
		this.element = h(
			"div",
			{ class: "editor", onkeydown: (event) => this.#pressKey(event) },
			h("div", { class: "editor-bar" }, this.typeField.element, h("div", { class: "buttons" }, this.undo, this.redo), this.quality.element, this.submit),
			this.hint,
			h("div", { class: "views" }, this.stage.element, this.previewPlace),
			transport,
			this.strip.element,
			h("div", { class: "panels" }, this.inspectorPlace, h("details", { open: true }, h("summary", {}, "Config"), this.configText.element, h("div", { class: "buttons" }, copies))),
		);
	}

	#showTool(tool) {
		this.shownTool = tool;
		this.stage.effects.getContext("2d").clearRect(0, 0, this.source.width, this.source.height);
		this.stage.video.style.transform = "";
		this.stage.handles.replaceChildren(tool.handles);
		replaceChildren(this.previewPlace, tool.preview);
		this.previewPlace.hidden = !tool.preview;
		replaceChildren(this.inspectorPlace, tool.inspector);
		setText(this.hint, TOOLS[this.type].hint);
	}

	#showTime() {
		const { time } = this;
		this.tool.show(time);
		this.strip.showTime(this.player.time);
		setText(this.timecode, `${formatTimecode(time)} / ${formatTimecode(this.source.duration)}`);
		const { rate } = this.player;
		setText(this.playButton, rate === 0 ? "Play" : Math.abs(rate) === 1 ? "Pause" : `Pause ${rate}×`);
	}

	#chooseType(type) {
		if (type === this.type) return;
		this.drafts[this.type] = this.config;
		this.selection = null;
		this.history.change({ type, config: this.drafts[type] ?? TOOLS[type].createConfig(this.source) });
	}

	/** Take over what was typed; what can't be drawn is not, but is what the button exports. */
	#readConfig(typed) {
		this.submit.disabled = typed === null;
		if (typed === null) return;
		const { input_key: _key, ...config } = typed;
		const obstacle = findObstacle(this.type, config);
		this.#typed = obstacle && typed;
		this.showProblem(obstacle);
		if (!obstacle) this.history.change({ type: this.type, config }, "text");
	}

	#remove(item) {
		this.tool.remove(item);
		this.select(null);
	}

	async #copySnippet(name) {
		await navigator.clipboard.writeText(createSnippets(this.request, this.context)[name]);
		this.say(`Copied as ${name}.`);
	}

	#pressKey(event) {
		const isTyping = event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select");
		const command = event.ctrlKey || event.metaKey;
		const key = event.key.toLowerCase();
		if (isTyping) return;
		const action = command ? this.#commandFor(key, event.shiftKey) : this.#actionFor(event, key);
		if (!action) return;
		event.preventDefault();
		action();
	}

	#commandFor(key, isShifted) {
		if (key === "z") return () => (isShifted ? this.history.redo() : this.history.undo());
		if (key === "y") return () => this.history.redo();
		if (key === "c" && this.selection && !String(getSelection())) return () => this.#copy();
		if (key === "v" && this.#clipboard?.type === this.type) return () => this.tool.paste(this.#clipboard.value);
		return null;
	}

	#actionFor(event, key) {
		const isControl = event.target.closest("button, a, summary, input, [role=slider]");
		if (isControl && [" ", "enter"].includes(key)) return null;
		if (event.target.closest("input[type=range]") && /^(arrow|home|end|page)/.test(key)) return null;
		if (key === "i" && this.tool.markIn) return () => this.tool.markIn();
		if (key === "o" && this.tool.markOut) return () => this.tool.markOut();
		if (key === "enter") return () => this.tool.addKeyframe();
		if (key === "delete" && this.selection) return () => this.#remove(this.selection);
		const command = playerCommand(event);
		return command && (() => command(this.player));
	}

	#copy() {
		const value = this.tool.copy(this.selection);
		if (!value) return;
		this.#clipboard = { type: this.type, value };
		this.say("Keyframe copied. Move the playhead and paste it.");
	}
}

/** Return the object without fields that are undefined. */
function dropUndefined(config) {
	return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}
