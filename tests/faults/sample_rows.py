"""Rows for tests of the checkers: the usual one, with some columns changed."""

from tests.faults.checkers.database_reader import Row
from tests.faults.checkers.delivery_checks import OutboxRow


def build_row(**changes: object) -> Row:
    """Return the row of an export that is processed in its second attempt."""
    usual: dict[str, object] = {
        "job_id": "job",
        "user_id": "ada",
        "status": "processing",
        "phase": "processing",
        "progress": 10.0,
        "attempt": 2,
        "run": "0b",
        "step": 5,
        "sequence": 9,
        "output_key": "out.mp4",
        "output_size": None,
        "output_checksum": None,
        "input_key": "clips/short.mp4",
        "error_code": None,
        "gpu_seconds": 0.0,
        "gpu_seconds_before": 0.0,
        "transition_sequence": 9,
    }
    return Row(**{**usual, **changes})  # type: ignore[arg-type]


def build_delivery(**changes: object) -> OutboxRow:
    """Return a delivery whose body was erased before it was sent."""
    usual: dict[str, object] = {
        "delivery_id": "del",
        "endpoint_id": "ep",
        "job_id": "job",
        "sequence": 3,
        "type": "export.completed",
        "payload": "",
        "state": "superseded",
        "tries": 0,
        "attempts": 0,
        "requested": False,
        "next_at": 0.0,
    }
    return OutboxRow(**{**usual, **changes})  # type: ignore[arg-type]
