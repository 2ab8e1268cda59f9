"""The log of what was sent, where nobody completes it any more."""

from collections.abc import Sequence

from sqlalchemy import and_, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.webhooks.models import ATTEMPTS

INTERRUPTED = "The service stopped before it knew what came of this."


async def mark_interrupted(session: AsyncSession, delivery_ids: Sequence[str]) -> None:
    """Attempts at these that nobody completed were cut off; one that comes back after all will say so itself."""
    if not delivery_ids:
        return
    unknown = and_(
        ATTEMPTS.c.delivery_id.in_(delivery_ids),
        ATTEMPTS.c.seconds.is_(None),
        ATTEMPTS.c.error_code.is_(None),
    )
    cut_off = {"error_code": "interrupted", "error_message": INTERRUPTED}
    await session.execute(update(ATTEMPTS).where(unknown).values(cut_off))
