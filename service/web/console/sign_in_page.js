import { form, h } from "./dom.js";

/** Ask for a token; it is kept for this tab's session only. */
export class SignInPage {
	constructor(detail, onToken) {
		this.field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
		this.element = form(
			"panel.sign-in",
			() => onToken(this.field.value.trim().replace(/^Bearer\s+/i, "")),
			h("h1", "Sign in"),
			h("p", "This service asks for a token: the JWT that your application sends as ", h("code", "Authorization: Bearer …"), "."),
			h("div.field", h("label", { for: "token" }, "Token"), this.field),
			h("p.problem", { role: "alert" }, detail),
			h("p.muted", "It stays in this tab and is forgotten when you close it."),
			h("div.buttons", h("button.primary", "Sign in")),
		);
	}

	start() {
		this.field.focus();
	}
}
