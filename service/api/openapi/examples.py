"""Examples of the document, by the name of the model; a test checks that each is one."""

from typing import Any, Final

_JOB_ID: Final = "0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
_KEY: Final = "uploads/3f2b8c1e5d7a4b6f9c0d1e2f3a4b5c6d/match.mp4"
_WEBHOOK: Final = {
    "id": "ep_0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "kind": "url",
    "url": "https://example.org/hooks/framehook",
    "description": "Order system",
    "events": ["export.completed", "export.failed"],
    "filter": {"project_id": "7", "metadata": {"channel": "news"}},
    "format": "standard",
    "header_names": ["Authorization"],
    "rate_limit": 5.0,
    "job_id": None,
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "public_key": None,
    "previous_secret_until": None,
    "listened_at": None,
    "created_at": "2026-01-02T03:04:05.678Z",
}
_FRAMING: Final = {
    "input_key": _KEY,
    "output_width": 608,
    "output_height": 1080,
    "keyframes": [
        {"time": 0, "x": 0, "y": 0, "width": 608, "height": 1080},
        {"time": 10, "x": 1312, "y": 0, "width": 608, "height": 1080},
    ],
}
_ANNOTATE: Final = {
    "input_key": _KEY,
    "clips": [{"start_time": 2, "end_time": 5, "name": "First goal", "tags": ["goal"]}],
}
_OVERLAY: Final = {
    "input_key": _KEY,
    "highlight_regions": [
        {
            "start_time": 1,
            "end_time": 3,
            "color": "#ffcc00",
            "keyframes": [{"time": 1, "x": 640, "y": 480, "radiusX": 60, "radiusY": 90}],
        }
    ],
}

_EXPORT: Final = {
    "job_id": _JOB_ID,
    "export_id": None,
    "batch_id": None,
    "name": "Final, vertical",
    "type": "framing",
    "status": "complete",
    "phase": "done",
    "progress": 100.0,
    "message": "The export is complete.",
    "error": None,
    "project_id": None,
    "metadata": {"order": "A-1024", "clip": 3},
    "priority": "normal",
    "not_before": None,
    "queue": None,
    "attempt": 1,
    "sequence": 12,
    "input_key": _KEY,
    "output_key": f"exports/{_JOB_ID}.mp4",
    "output": {
        "size": 1048576,
        "checksum": "sha256:" + "9f86d081884c7d65" * 4,
        "duration": 10.0,
        "width": 608,
        "height": 1080,
        "url": f"http://127.0.0.1:8000/api/exports/{_JOB_ID}/download",
    },
    "created_at": "2026-01-02T03:04:05.678Z",
    "started_at": "2026-01-02T03:04:06.123Z",
    "completed_at": "2026-01-02T03:04:15.042Z",
    "expires_at": None,
    "acknowledged_at": None,
    "eta_seconds": None,
    "eta_high_seconds": None,
    "gpu_seconds": 0.0,
    "cost_usd": 0.0,
    "max_cost_usd": None,
    "runner": "local",
    "call_id": "4242",
}
EXAMPLES: Final[dict[str, list[dict[str, Any]]]] = {
    "FramingConfig": [_FRAMING],
    "AnnotateConfig": [_ANNOTATE],
    "OverlayConfig": [_OVERLAY],
    "CreateExport": [{"type": "framing", "config": _FRAMING}],
    "CreateFramingExport": [{"type": "framing", "config": _FRAMING}],
    "CreateAnnotateExport": [{"type": "annotate", "config": _ANNOTATE}],
    "CreateOverlayExport": [{"type": "overlay", "config": _OVERLAY}],
    "CreateUpload": [{"filename": "match.mp4", "size": 104857600, "content_type": "video/mp4"}],
    "Acknowledge": [{"job_ids": [_JOB_ID]}],
    "TicketBody": [{}],
    "DownloadUrlOptions": [{"disposition": "inline", "expires_in": 86400}],
    "CreateEndpoint": [{"url": "https://example.org/hooks/framehook", "events": ["export.completed"]}],
    "UpdateEndpoint": [{"enabled": True}],
    "EditExport": [{"name": "Final, vertical", "metadata": {"order": "A-1024", "clip": 3}}],
    "RecoverBody": [{"since": "2026-01-02T00:00:00Z"}],
    "ReceivedMessage": [
        {
            "headers": {
                "webhook-id": "0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
                "webhook-timestamp": "1767323045",
                "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            },
            "body": '{"type": "export.completed"}',
        }
    ],
    "Webhook": [_WEBHOOK],
    "Estimate": [
        {
            "seconds": {"p50": 11.2, "p90": 19.5},
            "gpu_seconds": 11.2,
            "cost_usd": {"p50": 0.002486, "p90": 0.004329},
            "output": {"width": 608, "height": 1080, "duration": 10.0, "size": 4194304},
            "source": {"duration": 10.0, "width": 1920, "height": 1080, "fps": 30.0, "audio_tracks": []},
        }
    ],
    "Export": [_EXPORT],
    "SubmittedExport": [_EXPORT],
    "SocketState": [_EXPORT | {"done": True}],
}
