// What can go wrong, by name. Each takes the schedule; what lasts ends by itself.

const during = (low, high, begin, end) => (schedule) => {
  begin(schedule.network, schedule);
  schedule.clock.setTimeout(() => {
    schedule.note("the fault ends");
    end(schedule.network, schedule);
  }, schedule.random.between(low, high));
};

function restart({ network, clock, random }, downMilliseconds) {
  network.isDown = true;
  for (const stream of [...network.streams]) stream.restart();
  clock.setTimeout(() => (network.isDown = false), downMilliseconds ?? random.between(500, 20_000));
}

function killTab(schedule) {
  const tab = schedule.activeTab;
  if (tab) tab.kill();
}

export const FAULTS = {
  "cut": ({ network }) => network.cut(),
  "cut and fail": during(1_000, 60_000, (network) => {
    network.cut();
    network.isDown = true;
  }, (network) => (network.isDown = false)),
  "half-open": ({ network }) => network.silence(),
  "black hole": during(1_000, 90_000, (network) => (network.isBlackHole = true), (network, { random }) => {
    network.isBlackHole = false;
    if (random.isLucky(0.5)) network.cut();
    else network.silence();
  }),
  "proxy refuses WebSockets": during(5_000, 300_000, (network) => {
    network.cut();
    network.socketMode = "refuse";
  }, (network) => (network.socketMode = "ok")),
  "proxy hangs WebSockets": during(5_000, 300_000, (network) => {
    network.cut();
    network.socketMode = "hang";
  }, (network) => (network.socketMode = "ok")),
  "proxy mutes WebSockets": during(5_000, 300_000, (network) => {
    network.silence();
    network.socketMode = "mute";
  }, (network) => (network.socketMode = "ok")),
  "proxy buffers everything": during(20_000, 300_000, (network) => {
    network.silence();
    Object.assign(network, { socketMode: "mute", eventsMode: "mute" });
  }, (network) => Object.assign(network, { socketMode: "ok", eventsMode: "ok" })),
  "no room for streams": during(5_000, 100_000, (network) => {
    network.cut();
    network.isFull = true;
  }, (network) => (network.isFull = false)),
  "restart": (schedule) => restart(schedule),
  "restarts": (schedule) => {
    for (let count = 0; count < 4; count++) schedule.clock.setTimeout(() => restart(schedule, 300), count * 1_500);
  },
  "unavailable": ({ network, random }) => {
    network.failingCalls = random.integer(1, 6);
    network.cut();
  },
  "lost answers": ({ network, random }) => (network.lostAnswers = random.integer(1, 2)),
  "token expires": (schedule) => {
    schedule.tokenNumber++;
    schedule.network.goodTokensFrom = schedule.tokenNumber;
    for (const stream of [...schedule.network.streams]) stream.expire();
  },
  "token expires quietly": (schedule) => {
    schedule.tokenNumber++;
    schedule.network.goodTokensFrom = schedule.tokenNumber;
    schedule.network.cut();
  },
  "no tokens": (schedule) => {
    schedule.tokenFailures = schedule.random.integer(1, 4);
    schedule.tokenNumber++;
    schedule.network.goodTokensFrom = schedule.tokenNumber;
    schedule.network.cut();
  },
  "sleep": (schedule) => {
    const { clock, network, random } = schedule;
    if (random.isLucky(0.5)) network.silence();
    else network.cut();
    clock.skip(random.between(10_000, 7_200_000));
    if (random.isLucky(0.5)) for (const tab of schedule.browser.liveTabs) tab.run(() => tab.events.dispatchEvent(new Event("visibilitychange")));
  },
  "online": (schedule) => {
    for (const tab of schedule.browser.liveTabs) tab.run(() => tab.events.dispatchEvent(new Event("online")));
  },
  "reload": (schedule) => {
    killTab(schedule);
    schedule.openTab({ isReload: true });
  },
  "second tab": (schedule) => schedule.openTab(),
  "tab is closed": (schedule) => {
    killTab(schedule);
    if (!schedule.browser.liveTabs.length) schedule.openTab({ isReload: true });
  },
  "two tabs, and the first is closed": (schedule) => {
    const [first] = schedule.browser.liveTabs;
    schedule.openTab();
    schedule.clock.setTimeout(() => first?.kill(), schedule.random.between(10, 20_000));
  },
  "tab freezes": (schedule) => {
    const tab = schedule.browser.liveTabs.find((candidate) => !candidate.isFrozen);
    schedule.openTab();
    tab?.freeze();
    if (schedule.random.isLucky(0.5)) return; // it stays frozen
    schedule.clock.setTimeout(() => tab?.isFrozen && tab.thaw(), schedule.random.between(1_000, 200_000));
  },
  "network changes often": (schedule) => {
    for (let count = 0; count < 12; count++) {
      schedule.clock.setTimeout(() => {
        schedule.network.cut();
        for (const tab of schedule.browser.liveTabs) tab.run(() => tab.events.dispatchEvent(new Event("online")));
      }, count * 700);
    }
  },
};
