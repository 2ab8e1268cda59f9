"""Map HTTP statuses of a source to errors of the export."""

from gpu.errors import ExportError

UNAVAILABLE = "The source can't be read from storage at the moment."


def check_status(status: int) -> None:
    """Raise ExportError for a status other than success."""
    match status:
        case 200 | 206:
            return
        case 404 | 410:
            raise ExportError("source_missing", "The export's source does not exist.")
        case 412:
            raise source_changed()
        case 416:
            raise ExportError("source_unreadable", "The source is empty; it may not have been uploaded.")
        case 400 | 401 | 403:
            message = "Storage refused access to the source; its URL may have expired."
            raise ExportError("source_forbidden", message, transient=True)
        case _:
            raise ExportError("source_unavailable", UNAVAILABLE, transient=True)


def source_changed() -> ExportError:
    """Return the error for an object that was replaced while it was read."""
    return ExportError("source_changed", "The source was replaced while it was read.", transient=True)
