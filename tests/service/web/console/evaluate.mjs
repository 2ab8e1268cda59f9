// Evaluate the console's paths: reads {module, name, calls} as JSON, writes the results of `name(...call)`, or a constant.
import { readFileSync } from "node:fs";

const { module, name, calls } = JSON.parse(readFileSync(0, "utf-8"));
const { [name]: subject } = await import(module);
process.stdout.write(JSON.stringify(calls.map((call) => (typeof subject === "function" ? subject(...call) : subject))));
