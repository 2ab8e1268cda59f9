"""`python -m gpu.estimates.process`: estimate an export in a process of its own.

Its request is an EstimateSpec; `source` of its answer is a PlannedExport.
"""

import logging
import sys

from pydantic import TypeAdapter

from gpu.errors import ExportError, failure_dict, plugin_failure
from gpu.estimates.answer import PlannedExport
from gpu.estimates.planned import plan_estimate
from gpu.export_types.registry import BUILT_IN
from gpu.sources.probe_process import run_process
from gpu.spec import EstimateSpec

log = logging.getLogger(__name__)


def main() -> int:
    """Estimate one export; return the exit status of the process."""
    return run_process(TypeAdapter(EstimateSpec), _estimate)


def _estimate(spec: EstimateSpec) -> PlannedExport:
    """Plan the export; a bug of a package's type ends as it would end the export."""
    try:
        return plan_estimate(spec)
    except ExportError:
        raise
    except Exception as error:  # what a package raises can't be known
        if spec.type in BUILT_IN:
            raise
        log.exception("the export type %r could not plan", spec.type)
        raise ExportError(**failure_dict(plugin_failure(spec.type))) from error


if __name__ == "__main__":
    sys.exit(main())
