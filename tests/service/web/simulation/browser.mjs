// A browser as far as the client meets it: tabs, BroadcastChannel and Web Locks.

const abortError = () => new DOMException("The request was aborted.", "AbortError");

export class Browser {
  constructor(clock, random, network, { isSharing }) {
    Object.assign(this, { clock, random, network, isSharing });
    this.tabs = [];
    this.channels = new Set();
    this.locks = new Map();
  }

  openTab() {
    const tab = new Tab(this);
    this.tabs.push(tab);
    return tab;
  }

  get liveTabs() {
    return this.tabs.filter((tab) => !tab.isDead);
  }

  stateOf(name) {
    if (!this.locks.has(name)) this.locks.set(name, { holder: undefined, queue: [] });
    return this.locks.get(name);
  }

  requestLock(tab, name, { signal, steal } = {}, callback) {
    const state = this.stateOf(name);
    return new Promise((resolve, reject) => {
      const request = { tab, callback, resolve, reject };
      signal?.addEventListener("abort", () => {
        if (!state.queue.includes(request)) return;
        state.queue = state.queue.filter((queued) => queued !== request);
        tab.run(() => reject(abortError()));
      });
      if (steal && state.holder) {
        const { holder } = state;
        state.holder = undefined;
        holder.tab.run(() => holder.reject(abortError()));
      }
      if (steal) state.queue.unshift(request);
      else state.queue.push(request);
      this.grant(state);
    });
  }

  grant(state) {
    if (state.holder || !state.queue.length) return;
    const request = (state.holder = state.queue.shift());
    request.tab.run(async () => {
      await null;
      const value = await request.callback();
      if (state.holder !== request) return;
      state.holder = undefined;
      request.resolve(value);
      this.grant(state);
    });
  }

  releaseLocks(tab) {
    for (const state of this.locks.values()) {
      state.queue = state.queue.filter((request) => request.tab !== tab);
      if (state.holder?.tab !== tab) continue;
      state.holder = undefined;
      this.grant(state);
    }
  }
}

export class Tab {
  isDead = false;
  isFrozen = false;
  delayed = [];
  events = new EventTarget();

  constructor(browser) {
    this.browser = browser;
    this.name = `tab ${browser.tabs.length + 1}`;
  }

  // Run a task of the page: later if the tab is frozen, never if it is dead.
  run(task) {
    if (this.isDead) return;
    if (this.isFrozen) this.delayed.push(task);
    else task();
  }

  freeze() {
    this.isFrozen = true;
  }

  thaw() {
    this.isFrozen = false;
    for (const task of this.delayed.splice(0)) task();
  }

  kill() {
    this.isDead = true;
    this.browser.clock.clearOwner(this);
    this.browser.network.dropTab(this);
    this.browser.channels.forEach((channel) => channel.tab === this && channel.close());
    this.browser.releaseLocks(this);
  }

  // What the module finds as globals.
  get globals() {
    const { browser } = this;
    const tab = this;
    const { clock, network } = browser;
    const navigator = {
      locks: browser.isSharing && {
        request: (name, options, callback) => browser.requestLock(tab, name, options, callback),
      },
    };
    return {
      globalThis: { navigator, window: tab.events },
      navigator,
      fetch: (url, call) => network.fetch(tab, url, call),
      WebSocket: network.socketClass(tab),
      setTimeout: (callback, milliseconds) => clock.setTimeout(() => tab.run(callback), milliseconds, tab),
      clearTimeout: (timer) => clock.clearTimeout(timer),
      Date: { now: () => clock.now, parse: Date.parse },
      Math: Object.create(Math, { random: { value: () => browser.random.next() } }),
      BroadcastChannel: channelClass(tab),
    };
  }
}

function channelClass(tab) {
  const { browser } = tab;
  return class {
    constructor(name) {
      Object.assign(this, { name, tab });
      browser.channels.add(this);
    }

    postMessage(message) {
      if (tab.isDead) return;
      if (!browser.channels.has(this)) throw new DOMException("The channel is closed.", "InvalidStateError");
      const copy = structuredClone(message);
      for (const other of browser.channels) {
        if (other === this || other.name !== this.name) continue;
        const deliver = () => browser.channels.has(other) && other.onmessage?.({ data: copy });
        browser.clock.setTimeout(() => other.tab.run(deliver), 1);
      }
    }

    close() {
      browser.channels.delete(this);
    }
  };
}
