"""Read deliveries for their owners."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.webhooks.models import DELIVERIES, Delivery, DeliveryState, delivery_from_row


async def list_page(
    session: AsyncSession,
    endpoint_id: str,
    *,
    state: DeliveryState | None,
    before: str | None,
    limit: int,
) -> list[Delivery]:
    """Return a page of deliveries, newest first; `before` is the last id of the previous one."""
    conditions: list[ColumnElement[bool]] = [DELIVERIES.c.endpoint_id == endpoint_id]
    if state:
        conditions.append(DELIVERIES.c.state == state.value)
    if before:
        conditions.append(DELIVERIES.c.delivery_id < before)
    query = select(DELIVERIES).where(*conditions).order_by(DELIVERIES.c.delivery_id.desc()).limit(limit)
    return [delivery_from_row(row) for row in (await session.execute(query)).mappings()]


async def get(session: AsyncSession, endpoint_id: str, delivery_id: str) -> Delivery | None:
    """Return the delivery if it belongs to the endpoint."""
    is_match = (DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.delivery_id == delivery_id)
    row = (await session.execute(select(DELIVERIES).where(*is_match))).mappings().one_or_none()
    return delivery_from_row(row) if row else None


async def find_endpoint_id(session: AsyncSession, user_id: str, delivery_id: str) -> str | None:
    """Return the id of the endpoint that one of the user's deliveries is for."""
    is_match = (DELIVERIES.c.delivery_id == delivery_id, DELIVERIES.c.user_id == user_id)
    query = select(DELIVERIES.c.endpoint_id).where(*is_match)
    return (await session.execute(query)).scalar_one_or_none()
