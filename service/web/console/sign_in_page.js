import { h } from "./dom.js";

/** Ask for a token; it is kept for this tab's session only. */
export class SignInPage {
	constructor(detail, onToken) {
		this.field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
		this.element = h(
			"form",
			{
				class: "panel sign-in",
				onsubmit: (event) => {
					event.preventDefault();
					onToken(this.field.value.trim().replace(/^Bearer\s+/i, ""));
				},
			},
			h("h1", {}, "Sign in"),
			h("p", {}, "This service asks for a token: the JWT that your application sends as ", h("code", {}, "Authorization: Bearer …"), "."),
			h("div", { class: "field" }, h("label", { for: "token" }, "Token"), this.field),
			h("p", { class: "problem", role: "alert" }, detail),
			h("p", { class: "muted" }, "It stays in this tab and is forgotten when you close it."),
			h("div", { class: "buttons" }, h("button", { class: "primary" }, "Sign in")),
		);
	}

	start() {
		this.field.focus();
	}
}
