/** Start the console. The list is asked for before the scripts that show it have come: it is what the first page waits for. */

/** Where the token of this tab is kept. */
const TOKEN = "framehook.token";

/** Load the first page of the list, if the address names it; null if it can't be had, and the page says why. */
async function loadFirstList() {
	if (!/^(#\/)?$/.test(location.hash)) return null;
	const token = sessionStorage.getItem(TOKEN);
	const headers = token ? { Authorization: `Bearer ${token}` } : {};
	try {
		const response = await fetch("/api/exports?limit=50", { headers, cache: "no-store" });
		return response.ok ? await response.json() : null;
	} catch {
		return null;
	}
}

const firstList = loadFirstList();
const { App } = await import("./app.js");
await new App(TOKEN, firstList).start();
