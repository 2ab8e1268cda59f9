// Time that moves only when the schedule lets it, so that an hour of back-off takes milliseconds.

export class VirtualClock {
  constructor() {
    this.startedAt = this.now = Date.now();
    this.timers = new Map();
    this.lastId = 0;
  }

  setTimeout(callback, milliseconds = 0, owner = undefined) {
    const id = ++this.lastId;
    this.timers.set(id, { id, at: this.now + Math.max(0, milliseconds), callback, owner });
    return id;
  }

  clearTimeout(id) {
    this.timers.delete(id);
  }

  wait(milliseconds) {
    return new Promise((resolve) => this.setTimeout(resolve, milliseconds));
  }

  clearOwner(owner) {
    for (const timer of this.timers.values()) if (timer.owner === owner) this.timers.delete(timer.id);
  }

  countTimers(owner) {
    return [...this.timers.values()].filter((timer) => timer.owner === owner).length;
  }

  // The time of the next timer whose owner is not frozen.
  get nextAt() {
    const times = [...this.timers.values()].filter((timer) => !timer.owner?.isFrozen).map((timer) => timer.at);
    return Math.min(...times);
  }

  // Move to a time and run what is due.
  advance(at) {
    this.now = Math.max(this.now, at);
    const due = [...this.timers.values()].filter((timer) => timer.at <= this.now && !timer.owner?.isFrozen);
    due.sort((first, second) => first.at - second.at || first.id - second.id);
    for (const timer of due) {
      if (this.timers.delete(timer.id)) timer.callback();
    }
  }

  // Sleep: time passes, and no timer runs before the end.
  skip(milliseconds) {
    this.now += milliseconds;
  }
}
