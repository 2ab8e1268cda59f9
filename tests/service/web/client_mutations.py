"""Bugs put into the browser client on purpose: schedules must find each."""

MUTATIONS = {
    "a state is delivered twice": ("job.sequence <= this.seen.get(job.job_id) - isMoved", "false"),
    "what a connection leaves out is not asked for": ("this.checkAfter(500);", ""),
    "what ended between two connections is not asked for": (
        "this.loadRecent().then((recent) => this.receive(recent), () => {})",
        "0",
    ),
    "connections are tried without a pause": (
        "Math.min(requested, MINUTE_MS) + this.http.jitter(this.failures++)",
        "0",
    ),
    "the pause does not grow": ("this.http.jitter(this.failures++)", "this.http.jitter(0)"),
    "a mute WebSocket is trusted": ("expect(HANDSHAKE_MS);", "expect(1e9);"),
    "a dead WebSocket is trusted": ("expect(PONG_MS);", "expect(1e9);"),
    "a dead event stream is trusted": ("expect(SILENCE_MS);", "expect(1e9);"),
    "an expired token is kept": ("!this.canRenew || isRenewed", "true"),
    "a frozen tab keeps the lead": ("this.requestLock({ steal: true });", ""),
    "each tab has a connection": ("!globalThis.navigator?.locks", "true"),
    "a repeated submission is a new one": ('"Idempotency-Key": idempotencyKey', '"X-Key": idempotencyKey'),
    "a broken transport is used for ever": ("this.level++;", ""),
    "other tabs are not told of changes": (
        'if (jobs.length) this.tabs.post({ kind: "states", jobs });',
        "",
    ),
    "a filter drops an export that ends": (
        "return isMatch || this.pending.has(id) ? id : undefined;",
        "return isMatch && !hasEnded(job) ? id : undefined;",
    ),
}


def mutate(source: str, name: str) -> str:
    """Return the client with this bug; fails if the client has changed so that it no longer fits."""
    before, after = MUTATIONS[name]
    assert source.count(before) == 1, f"{name}: {before!r} is in the client {source.count(before)} times"
    return source.replace(before, after)
