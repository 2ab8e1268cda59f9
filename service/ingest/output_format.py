"""The format of an export's output: what its type says, or unknown bytes if the type's package was removed."""

from dataclasses import dataclass

from gpu.export_types.registry import UnknownExportType, find_export_type


@dataclass(frozen=True)
class OutputFormat:
    """Content type, and suffix of the file name with its dot."""

    content_type: str
    suffix: str


UNKNOWN_FORMAT = OutputFormat("application/octet-stream", "")


def output_format(type_name: str) -> OutputFormat:
    """Return the format of an export type's outputs."""
    try:
        export_type = find_export_type(type_name)
    except UnknownExportType:
        return UNKNOWN_FORMAT
    return OutputFormat(export_type.content_type, export_type.suffix)
