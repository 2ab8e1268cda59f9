"""Turn tracing on if a collector is named."""

from typing import TYPE_CHECKING

from service.settings import Settings
from service.startup.errors import StartError
from service.startup.statuses import CONFIGURATION_STATUS

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


def create_tracing(settings: Settings) -> "Tracing | None":
    """Return what makes and sends spans; None without a collector. Raises StartError without OpenTelemetry."""
    if not settings.tracing_endpoint:
        return None
    try:
        from service.tracing.tracer import Tracing, create_exporter  # optional, and takes half a second
    except ModuleNotFoundError as error:
        raise StartError(
            f"TRACING_ENDPOINT is set, but {error.name} is not installed; install framehook[tracing]",
            CONFIGURATION_STATUS,
        ) from None
    return Tracing(create_exporter(settings.tracing_endpoint))
