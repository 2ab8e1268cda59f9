"""Settings of runs: where they run, how many, how long, and at what cost."""

import os
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from service.settings.types import MAX_DAYS, Default, Dollars, SettingsGroup


class RunSettings(SettingsGroup):
    """Where exports run, how many at a time, for how long, and at what cost."""

    heading: ClassVar = "Runs"

    modal_enabled: bool = False
    """`true` sends runs to Modal"""
    modal_token_id: Annotated[str | None, Default("what `modal token new` stored")] = None
    """the id of the token for Modal; both or none"""
    modal_token_secret: SecretStr | None = None
    """the token's secret"""
    modal_app_name: str = "framehook"
    """the deployed app"""
    modal_gpu: str = "L4"
    """the card for which `framehook modal deploy` deploys it"""
    modal_max_containers: Annotated[int, Field(ge=1, le=10_000)] = 20
    """with how many containers for each function `framehook modal deploy` deploys it"""
    modal_bucket_secret: Annotated[str | None, Default("none")] = None
    """the Modal secret with the four `R2_…` with which it deploys it, for
    [callers without the service](deploy.md#calling-the-functions-from-another-backend)"""
    gpu_usd_per_second: Annotated[
        float | None,
        Field(ge=0, le=1),
        Default("[Modal's price](deploy.md#what-exports-cost) of `MODAL_GPU`"),
    ] = None
    """price of a GPU second in US dollars, as your contract has it; runs on this machine cost nothing, nor do those
    on a control plane of your own unless this is set"""
    local_workers: Annotated[int, Field(ge=1, le=256), Default("cores")] = os.cpu_count() or 1
    """local processes at a time"""
    fork_server: bool = True
    """`false` saves the memory of a process from which runs and output checks are forked; each then starts half a
    second later (Linux only)"""
    max_active_per_user: Annotated[int, Field(ge=1)] = 4
    """runs of one user at a time"""
    max_queued_per_user: Annotated[int, Field(ge=1)] = 100
    """exports of one user that wait or run"""
    max_cost_per_user_day_usd: Annotated[Dollars, Default("`0`: no limit")] = 0.0
    """what the exports of one user may [cost](api.md#limit-costs) in a day (UTC), in US dollars"""
    max_cost_per_day_usd: Annotated[Dollars, Default("`0`: no limit")] = 0.0
    """what all exports may cost in a day"""
    priority_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """the head start of a high priority among one user's exports"""
    priority_seconds_between_users: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """what a high priority counts between users, in seconds of a worker's time"""
    max_schedule_days: Annotated[float, Field(ge=0, le=365)] = 30.0
    """how far ahead `not_before` may be"""
    attempt_limit: Annotated[int, Field(ge=1, le=20)] = 3
    """attempts of an export. A death of the service uses up none"""
    attempt_deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3_600.0
    """how long a run may take"""
    queue_deadline_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)] = 6 * 3_600.0
    """how long a run may wait to start"""
    silence_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """how long a run may report nothing before the runner is asked about it; a local run that lives and reports
    nothing for three times as long (a minute at least) is ended and tried again"""
    stalled_seconds: Annotated[float, Field(ge=60, le=86_400)] = 900.0
    """how long a run may report the same progress; a local run is then ended and tried again. Reading the largest
    source once must take less"""
    lease_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """how long starting a run may take before the attempt counts as lost"""
    finalize_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """how long checking and publishing an output may take"""
    finalize_lease_seconds: Annotated[float, Field(gt=0, le=3_600)] = 15.0
    """how long after the death of a replica that was publishing an output another one continues (plus one or two
    `WATCH_SECONDS`)"""
    watch_seconds: Annotated[float, Field(gt=0, le=3_600)] = 5.0
    """how often runs and leases are checked"""
    timeline_days: Annotated[float, Field(gt=0, le=MAX_DAYS)] = 30.0
    """how long timelines and the webhook log are kept"""
