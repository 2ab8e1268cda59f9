"""What tests put in the place of the objects at the edges of the process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.egress import EgressClient
from service.clock import Clock
from service.dispatch.runners import Runner
from service.ingest.output_check import SourceProber

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


@dataclass(frozen=True)
class Replacements:
    """Objects at the edges of the process that tests replace; None is the usual one."""

    runner: Runner | None = None
    clock: Clock | None = None
    output_prober: SourceProber | None = None
    egress: EgressClient | None = None
    source_prober: SourceProber | None = None
    tracing: "Tracing | None" = None
