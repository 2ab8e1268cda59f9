"""The rule of order: which older event of the same export and endpoint a delivery waits for. One SQL text for all."""

import json
from collections.abc import Sequence
from typing import Final

# What is in flight `here` is so, whatever the clock and its leases say.
_BLOCKED: Final = """EXISTS (SELECT 1 FROM webhook_deliveries AS older
    WHERE older.endpoint_id = {delivery}.endpoint_id AND older.job_id = {delivery}.job_id
        AND older.sequence < {delivery}.sequence
        AND (older.lease_until > :now
            OR {older_is_here}
            OR (older.state = 'pending' AND older.tries = 0 AND older.type <> 'export.progress')))"""
_EACH_HERE: Final = {
    "sqlite": "json_each(:here)",
    "postgresql": "json_array_elements_text(CAST(:here AS json)) AS here (value)",
}


def is_blocked(delivery: str, dialect: str) -> str:
    """Return the SQL that tells whether the row of the table or alias `delivery` waits for an older event.

    It waits for one that is in flight or was never sent. Parameters: `:now`, and `:here` as `in_flight_json` writes it.
    """
    return _BLOCKED.format(delivery=delivery, older_is_here=is_in_flight_here("older", dialect))


def is_in_flight_here(delivery: str, dialect: str) -> str:
    """Return the SQL that tells whether this process is sending the row of the table or alias `delivery`."""
    return f"{delivery}.delivery_id IN (SELECT value FROM {_EACH_HERE[dialect]})"  # noqa: S608 - made of constants


def in_flight_json(delivery_ids: Sequence[str]) -> str:
    """Return what `:here` takes: the deliveries that this process is sending."""
    return json.dumps(list(delivery_ids))
