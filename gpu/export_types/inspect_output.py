"""`python -m gpu.export_types.inspect_output TYPE`: check a file as an output of an export type.

A process of its own, like `gpu.sources.describe` in all but this: `source` has `width` and `height` of an image, or
nothing for other files. An output that is a video is described by `gpu.sources.describe`.
"""

import io
import sys
from typing import TYPE_CHECKING, Any

from gpu.errors import ExportError
from gpu.export_types.base import ExportType
from gpu.export_types.registry import UnknownExportType, find_export_type
from gpu.export_types.verify_output import inspect_file
from gpu.sources.probe_process import SOURCE, open_request, run_process

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation


def inspect_output(location: "SourceLocation", export_type: ExportType) -> dict[str, Any]:
    """Describe an output. Raises ExportError: output_invalid, and others of an object elsewhere."""
    with open(location, "rb") if isinstance(location, str) else location.open() as file:  # noqa: PTH123 - a str
        size = inspect_file(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file, export_type)
    return {} if size is None else {"width": size[0], "height": size[1]}


def main() -> int:
    """Inspect one output; return the exit status of the process."""
    return run_process(SOURCE, lambda request: inspect_output(open_request(request), _find(sys.argv[1])))


def _find(type_name: str) -> ExportType:
    try:
        return find_export_type(type_name)
    except UnknownExportType as error:
        raise ExportError("unknown_export_type", str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
