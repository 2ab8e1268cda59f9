/** The page on which an export is set up by eye: stage, preview, timeline, inspector and config. */

import { button, h, replaceChildren, setText } from "../dom.js";
import { formatTimecode } from "../format.js";
import { AnnotateTool } from "./annotate.js";
import { findObstacle } from "./checks.js";
import { ConfigText } from "./config_text.js";
import { segmentedField, selectField } from "./fields.js";
import { FramingTool } from "./framing.js";
import { History } from "./history.js";
import { frameTime } from "./keyframes.js";
import { OverlayTool } from "./overlay.js";
import { Player, findPlayerCommand } from "./player.js";
import { createSnippets } from "./snippets.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";

const TOOLS = { framing: FramingTool, overlay: OverlayTool, annotate: AnnotateTool };
const QUALITIES = [["draft", "Draft"], ["standard", "Standard"], ["high", "High"]];

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
	#tools = {};
	#drafts = {};

	constructor({ source, draft, onChange, onSubmit, say, hasToken }) {
		Object.assign(this, { source, say, onSubmit, hasToken });
		this.history = new History(draft ?? { type: "framing", config: FramingTool.createConfig(source) }, (state) => {
			this.#typed = null;
			this.submit.disabled = false;
			onChange(state);
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
			this.hint,
			h("div.views", this.stage, this.previewPlace),
			h("div.buttons.transport", transport),
			this.strip,
			h("div.panels", this.inspectorPlace, h("details", { open: true }, h("summary", "Config"), h("div.page", this.configText, h("div.buttons", copies)))),
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

	/** Take over what was typed; what can't be drawn is not, but is what the button exports. */
	#readConfig(typed) {
		this.submit.disabled = typed === null;
		if (typed === null) return;
		const { input_key: _key, ...config } = typed;
		const obstacle = findObstacle(this.type, config);
		this.#typed = obstacle ? typed : null;
		this.showProblem(obstacle);
		if (!obstacle) this.history.change({ type: this.type, config }, "text");
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

	#findAction(event, key) {
		const { tool, selection } = this;
		if (event.target.closest("button, a, summary, input, [role=slider]") && [" ", "enter"].includes(key)) return null;
		if (event.target.closest("[type=range]") && /^(arrow|home|end|page)/.test(key)) return null;
		if (key === "i" && tool.markIn) return () => tool.markIn();
		if (key === "o" && tool.markOut) return () => tool.markOut();
		if (key === "enter") return () => tool.addKeyframe();
		if (key === "delete" && selection) return () => this.remove(selection);
		const command = findPlayerCommand(event);
		return command && (() => command(this.player));
	}

	#copy() {
		const value = this.tool.copy(this.selection);
		if (!value) return;
		this.#clipboard = { type: this.type, value };
		this.say("Keyframe copied. Move the playhead and paste it.");
	}
}
