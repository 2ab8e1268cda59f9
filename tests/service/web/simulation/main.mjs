// Run schedules side by side and print a JSON report: node main.mjs '{"url": …, "seed": …, "count": …, "client": …}'

import { readFileSync } from "node:fs";
import { Schedule } from "./schedule.mjs";

const options = JSON.parse(process.argv[2]);
const source = readFileSync(new URL(options.client), "utf8").replace(/^export /gm, "");
const failures = [];
const totals = { schedules: 0, states: 0, attempts: 0, faults: 0, virtualSeconds: 0 };
const transports = {};
let next = options.seed;

process.on("uncaughtException", (error) => {
  console.error(error);
  process.exit(1);
});

// Evaluate the module as a page of a tab would, with these globals.
function loadClient(globals) {
  const names = Object.keys(globals);
  return new Function(...names, `"use strict";${source}\nreturn { createClient };`)(...names.map((name) => globals[name]));
}

async function work() {
  while (next < options.seed + options.count && failures.length < 5) {
    const schedule = new Schedule(next++, options, loadClient);
    const violations = await schedule.run();
    totals.schedules++;
    totals.states += schedule.watches.reduce((sum, { states }) => sum + states.length, 0);
    totals.attempts += schedule.attempts;
    totals.faults += schedule.faultCount;
    totals.virtualSeconds += Math.round((schedule.clock.now - schedule.clock.startedAt) / 1000);
    for (const line of schedule.log) {
      const transport = / open (\w+)$/.exec(line)?.[1];
      if (transport) transports[transport] = (transports[transport] ?? 0) + 1;
    }
    if (violations.length) failures.push({ seed: schedule.seed, violations, log: schedule.log.slice(-120) });
  }
}

await Promise.all(Array.from({ length: options.parallel ?? 32 }, work));
console.log(JSON.stringify({ ...totals, transports, failures }));
process.exit(0);
