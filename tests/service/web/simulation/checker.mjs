// What must hold: the history of a client is the service's, no end is missed, and nobody storms the service.

// At most one connection for all tabs that can share; one for each tab that cannot.
export function checkConnections(schedule) {
  const streams = [...schedule.network.streams].filter(({ tab }) => !tab.isFrozen && !tab.isDead);
  const owners = schedule.browser.isSharing ? ["all tabs"] : schedule.browser.liveTabs;
  const limit = schedule.browser.isSharing ? 1 : owners.length;
  if (streams.length > limit) schedule.violate(`${streams.length} connections at once`);
}

export function checkEnd(schedule) {
  const final = new Map((schedule.final ?? []).map((job) => [job.job_id, job]));
  for (const record of schedule.watches) checkWatch(schedule, record, final);
  checkSubmissions(schedule);
  checkAttempts(schedule);
}

function checkWatch(schedule, record, final) {
  const { tab, target, states, problems, isOver } = record;
  const name = `${tab.name}, watch of ${target ?? "all"}`;
  const latest = new Map();
  for (const { job_id: id, sequence, status, message, queue } of states) {
    const previous = latest.get(id) ?? { sequence: 0 };
    const place = JSON.stringify(queue);
    const isNews = sequence > previous.sequence || (sequence === previous.sequence && place !== previous.place);
    if (!isNews) schedule.violate(`${name}: ${id} went from ${previous.sequence} to ${sequence}`);
    latest.set(id, { sequence, status, place });
    const expected = schedule.service.truth.get(`${id} ${sequence}`);
    if (expected !== undefined && expected !== message) schedule.violate(`${name}: state ${sequence} is not the service's`);
    if (sequence > final.get(id)?.sequence) schedule.violate(`${name}: state ${sequence} does not exist`);
  }
  for (const problem of problems) schedule.violate(`${name}: ${problem.code ?? problem}`);
  if (tab.isDead || tab.isFrozen) return;
  const ids = target === undefined ? [...final.keys()] : [target].flat();
  for (const id of ids) {
    const seen = latest.get(id);
    const hasEnd = ["error", "cancelled"].includes(seen?.status);
    const hasLast = seen?.sequence === final.get(id)?.sequence || schedule.mayMiss(record, id);
    if (target === undefined ? !hasLast : !hasEnd) {
      schedule.violate(`${name}: missed the end of ${id}, saw ${describe(states, id)} of ${final.get(id)?.sequence}`);
    }
  }
  if (target !== undefined && !isOver) schedule.violate(`${name}: is not over`);
}

function describe(states, id) {
  return states.filter((state) => state.job_id === id).map(({ sequence, status }) => `${sequence} ${status}`).join(", ");
}

// However often the network repeated a submission, it made one export.
function checkSubmissions(schedule) {
  for (const { tag, id } of schedule.submissions) {
    const jobs = (schedule.final ?? []).filter((job) => job.project_id === tag);
    if (jobs.length > 1) schedule.violate(`${tag} made ${jobs.length} exports`);
    if (id !== undefined && jobs[0]?.job_id !== id) schedule.violate(`${tag} was answered with another export`);
  }
}

function checkAttempts(schedule) {
  const { ticket, websocket, events, poll } = schedule.network.counts;
  const seconds = (schedule.clock.now - schedule.clock.startedAt) / 1000;
  const causes = 1 + schedule.faultCount + schedule.browser.tabs.length;
  const opened = ticket + websocket + events;
  if (opened > 7 * causes + seconds / 10) schedule.violate(`${opened} attempts to connect in ${seconds.toFixed(0)} s`);
  if (poll > 8 * causes + seconds / 5) schedule.violate(`${poll} polls in ${seconds.toFixed(0)} s`);
}
