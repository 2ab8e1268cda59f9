"""Estimate an export from its sources and from what exports took before; nothing is stored."""

from dataclasses import dataclass
from typing import Final, TypedDict

from gpu.config import VideoConfig
from gpu.estimates.answer import EstimatedOutput, EstimatedSource, PlannedExport
from gpu.spec import DescribedSource, EstimateSpec
from infra.storage import Storage
from service.exports.forecasts import RunForecasts
from service.exports.models import ExportRequest
from service.exports.service import ExportService
from service.forecast.work import SourceFacts
from service.ingest.prober import Prober, locate_object

ABSENT_KEY: Final = "uploads/0/video"
"""Stands for the key that a file gets when it is uploaded."""
MIN_CHUNK_SECONDS = 2.0
"""Chunks are not much shorter."""


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


@dataclass(frozen=True)
class Estimator:
    """Estimates exports of one runner.

    `usd_per_second` is the price of its GPU, None if it is unknown. With `has_remote_chunks` each chunk of a split
    export has a GPU of its own.
    """

    exports: ExportService
    storage: Storage
    prober: Prober
    forecasts: RunForecasts
    usd_per_second: float | None
    has_remote_chunks: bool

    async def estimate(
        self, user_id: str, request: ExportRequest, described: DescribedSource | None = None
    ) -> Estimate:
        """Return what the export would take and become; `described` is the source with ABSENT_KEY.

        Raises the Invalid of its submission, the UnreadableSource that its sources would end it with, and what keeps
        the service from reading them.
        """
        await self.exports.check(user_id, request, absent_keys={ABSENT_KEY} if described else ())
        config = request.config
        sources = {
            key: described
            if described is not None and key == ABSENT_KEY
            else await locate_object(self.storage, user_id, key)
            for key in config.input_keys
        }
        spec = EstimateSpec(type=request.type, config=config, sources=sources)
        planned = await self.prober.estimate(user_id, spec)
        seconds = self._predict(request, planned)
        gpus = self._count_gpus(request, planned)
        return {
            "seconds": seconds,
            "gpu_seconds": None if seconds["p50"] is None else round(seconds["p50"] * gpus, 3),
            "cost_usd": {"p50": self._price(seconds["p50"], gpus), "p90": self._price(seconds["p90"], gpus)},
            "output": planned["output"],
            "source": planned["source"],
        }

    def _predict(self, request: ExportRequest, planned: PlannedExport) -> Quantiles:
        facts = {key: SourceFacts.of(description) for key, description in planned["sources"].items()}
        known = {key: source for key, source in facts.items() if source is not None}
        prediction = self.forecasts.predict(request.type, request.config, known)
        if prediction is None:
            return {"p50": None, "p90": None}
        return {"p50": round(prediction.p50, 3), "p90": round(prediction.p90, 3)}

    def _count_gpus(self, request: ExportRequest, planned: PlannedExport) -> int:
        """Return how many GPUs a run has: that of the export, and one for each chunk that is encoded beside it."""
        config, seconds = request.config, planned["output"]["duration"]
        if not self.has_remote_chunks or not isinstance(config, VideoConfig) or seconds is None:
            return 1
        chunks = min(config.parallelism, int(seconds / MIN_CHUNK_SECONDS))
        return 1 + chunks if chunks > 1 else 1

    def _price(self, seconds: float | None, gpus: int) -> float | None:
        if seconds is None or self.usd_per_second is None:
            return None
        return round(seconds * gpus * self.usd_per_second, 6)
