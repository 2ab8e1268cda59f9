"""Lock a batch of rows for a statement that changes them."""

from typing import Any

from sqlalchemy import Select, select


def lock_batch(rows: Select[Any], limit: int, *, skip_locked: bool = False) -> Select[Any]:
    """Return a subquery for `IN` that locks at most `limit` of the rows.

    The rows are a common table expression, since PostgreSQL evaluates one that locks rows only once. It may evaluate a
    plain subquery again for each row of the outer statement, in a nested loop. Each time, `LIMIT` lets other rows
    through, since those that the statement has changed do not count: far more rows than `limit` are changed.
    """
    batch = rows.limit(limit).with_for_update(skip_locked=skip_locked).cte("batch")
    return select(*batch.c)
