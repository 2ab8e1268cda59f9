"""An outbox with a long backlog, written by one statement that the database runs itself, for a benchmark."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from callbacks.envelope import Phase
from infra.database.base import BatchConnection, Database
from infra.database.dialects import SQLITE
from service.jobs.ids import new_id
from service.jobs.models import Status
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoints
from service.webhooks.outbox import Row, build_delivery, build_payload
from tests.support.job_factory import build_ended_job

LOOK_SECONDS = 0.1
STEP_SECONDS = 0.005
"""Between two deliveries: two hundred a second, a million in 83 minutes."""
PER_USER = 4
EVENTS = ((2, Status.PROCESSING, Phase.STARTING), (9, Status.COMPLETE, Phase.DONE))
"""Each export has started and ended: the later event of an endpoint has to wait for the earlier one."""
_PLACEHOLDER = "00000000-0000-7000-8000-000000000000"
# Of export n, a delivery for each of its events.
_INSERT = """
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, state, tries,
    attempts, requested, next_at, scheduled_at, created_at)
SELECT '{prefix}' || {padded_delivery}, 'ep_' || (n % {endpoints}), 'user-' || (n % {endpoints} / {per_user}),
    '{prefix}' || {padded_export}, {sequence}, '{type}',
    replace(:payload, '{placeholder}', '{prefix}' || {padded_export}), 'pending', 0, 0, false,
    {due_at}, {due_at}, {due_at}
FROM {numbers}
"""
_MARK_DELIVERED = """
UPDATE webhook_deliveries SET state = 'delivered', ended_at = :now
WHERE delivery_id < :after AND state = 'pending'
"""
_ANY_PENDING = "SELECT 1 FROM webhook_deliveries WHERE state = 'pending' LIMIT 1"


@dataclass(frozen=True)
class BacklogRows:
    """So many deliveries, shared out among endpoints; the first became due at `begin` (seconds since the epoch)."""

    database: Database
    endpoints: int
    count: int
    begin: float

    @property
    def prefix(self) -> str:
        """What all ids begin with; the rest is the number of the delivery."""
        return new_id(self.begin)[:15] + "000-8000-"

    async def insert(self) -> None:
        """Write all rows."""

        async def write(connection: BatchConnection) -> None:
            for position, event in enumerate(EVENTS):
                template = _build_template(*event)
                await connection.execute_many(
                    self._render(position, template), [{"payload": template["payload"]}]
                )

        await self.database.batch(write)

    async def mark_delivered(self, after: int) -> None:
        """Mark as delivered what is left of the deliveries before this number."""
        values = {"after": f"{self.prefix}{after:012d}", "now": self.begin}

        async def write(connection: BatchConnection) -> None:
            await connection.execute_many(_MARK_DELIVERED, [values])

        await self.database.batch(write)

    async def wait_empty(self) -> None:
        """Wait until no delivery is pending."""
        is_pending = True
        while is_pending:
            await asyncio.sleep(LOOK_SECONDS)
            is_pending = bool(await self.database.fetch(_ANY_PENDING, {}))

    def _render(self, position: int, template: Row) -> str:
        number = f"(n * {len(EVENTS)} + {position})"
        exports = self.count // len(EVENTS)
        is_sqlite = self.database.dialect == SQLITE
        padded = "printf('%012d', {})" if is_sqlite else "lpad({}::text, 12, '0')"
        series = "WITH RECURSIVE {0} (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM {0} WHERE n < {1}) SELECT n FROM {0}"
        numbers = (
            f"({series.format('numbers', exports - 1)})"
            if is_sqlite
            else f"generate_series(0, {exports - 1}) AS numbers (n)"
        )
        return _INSERT.format(
            prefix=self.prefix,
            padded_delivery=padded.format(number),
            padded_export=padded.format("n"),
            endpoints=self.endpoints,
            per_user=PER_USER,
            sequence=template["sequence"],
            type=template["type"],
            placeholder=_PLACEHOLDER,
            due_at=f"({self.begin} + {number} * {STEP_SECONDS})",
            numbers=numbers,
        )


async def create_endpoints(database: Database, count: int, ports: Sequence[int], now: float) -> None:
    """Create so many endpoints on loopback, four of each user."""
    rows = [
        endpoints.new_values(
            f"user-{number // PER_USER}", f"http://127.0.0.1:{ports[number % len(ports)]}/{number}", now=now
        )
        | {"endpoint_id": f"ep_{number}"}
        for number in range(count)
    ]
    async with database.transaction() as session:
        await endpoints.create_all(session, rows)


def _build_template(sequence: int, status: Status, phase: Phase) -> Row:
    job = build_ended_job(
        _PLACEHOLDER,
        status=status,
        phase=phase,
        sequence=sequence,
        transition_sequence=sequence,
        output_size=8_388_608,
        output_checksum=f"sha256:{'0' * 64}",
        output_duration=12.5,
        output_width=1280,
        output_height=720,
    )
    return build_delivery(job, "", build_payload(job, JobSerializer("https://exports.example.com"), 0.0), 0.0)
