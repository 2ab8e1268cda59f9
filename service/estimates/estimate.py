"""Estimate an export from its sources and from what exports took before; nothing is stored."""

from typing import Any, TypedDict

from gpu.estimates.answer import EstimatedOutput, EstimatedSource
from gpu.spec import EstimateSpec
from infra.storage import Storage
from service.exports.models import ExportRequest
from service.exports.service import ExportService
from service.ingest.prober import Prober, locate_object


class Quantiles(TypedDict):
    """What half and nine of ten exports of this kind take at most; null is what is not known yet."""

    p50: float | None
    p90: float | None


class Estimate(TypedDict):
    """What an export would take and become: `seconds` from its start, `gpu_seconds` that are billed, and their price.

    `output` has the size in pixels, the duration in seconds and about the `size` in bytes; null is what its type does
    not say. `source` is the first source.
    """

    seconds: Quantiles
    gpu_seconds: float | None
    cost_usd: Quantiles
    output: EstimatedOutput
    source: EstimatedSource


async def estimate_export(
    user_id: str, request: ExportRequest, *, exports: ExportService, storage: Storage, prober: Prober
) -> Estimate:
    """Return what the export would take and become.

    Raises the Invalid of its submission, the UnreadableSource that its sources would end it with, and what keeps the
    service from reading them.
    """
    await exports.check(user_id, request)
    keys = request.config.input_keys
    spec = EstimateSpec(
        type=request.type,
        config=request.config,
        sources={key: await locate_object(storage, user_id, key) for key in keys},
    )
    planned: dict[str, Any] = await prober.estimate(user_id, spec)
    return {
        "seconds": {"p50": None, "p90": None},
        "gpu_seconds": None,
        "cost_usd": {"p50": None, "p90": None},
        "output": planned["output"],
        "source": planned["source"],
    }
