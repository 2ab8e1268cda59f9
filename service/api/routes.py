"""The routes: a path and a method to a function each.

`CallbackFastPath` serves callbacks before them.
"""

from starlette.routing import Route, WebSocketRoute

from service.api import (
    acknowledge,
    create_export,
    exports,
    health,
    metrics,
)
from service.api.access import keys
from service.api.batches import bulk, submit
from service.api.batches import routes as batches
from service.api.callbacks import Callbacks
from service.api.estimates import estimate
from service.api.fixed_paths import FixedRoute
from service.api.monitoring import system, usage
from service.api.openapi import document
from service.api.pages import handlers
from service.api.pages.console import get_console_file, get_page, get_sample
from service.api.pages.web_modules import MODULES, web_module_route
from service.api.portal import links
from service.api.portal.page import get_portal, get_script
from service.api.streaming import sse, tickets, websocket
from service.api.transfers import (
    download_urls,
    files,
    output_uploads,
    probes,
    stored_uploads,
    upload_parts,
    uploads,
)
from service.api.webhooks import deliveries, endpoints, listeners, statistics, verification

ROUTES = [
    Route("/api/callbacks/{job_id}", Callbacks(), methods=["POST"]),
    Route("/api/exports", create_export.create, methods=["POST"]),
    Route("/api/exports", exports.list_),
    FixedRoute("/api/exports/active", exports.list_active),
    FixedRoute("/api/exports/recent", exports.list_recent),
    FixedRoute("/api/exports/unacknowledged", exports.list_unacknowledged),
    FixedRoute("/api/exports/acknowledge", acknowledge.acknowledge, methods=["POST"]),
    FixedRoute("/api/exports/cancel", bulk.cancel, methods=["POST"]),
    FixedRoute("/api/exports/retry", bulk.retry, methods=["POST"]),
    FixedRoute("/api/exports/events", sse.user_events),
    FixedRoute("/api/exports/estimate", estimate.estimate, methods=["POST"]),
    Route("/api/exports/project/{project_id:path}", exports.list_project),
    Route("/api/exports/{job_id}", exports.get),
    Route("/api/exports/{job_id}", create_export.edit, methods=["PATCH"]),
    Route("/api/exports/{job_id}", exports.cancel, methods=["DELETE"]),
    Route("/api/exports/{job_id}/request", exports.get_request),
    Route("/api/exports/{job_id}/retry", exports.retry, methods=["POST"]),
    Route("/api/exports/{job_id}/events", sse.export_events),
    Route("/api/exports/{job_id}/download", exports.download_output),
    Route("/api/exports/{job_id}/download-url", download_urls.create_for_export, methods=["POST"]),
    Route("/api/batches", submit.create, methods=["POST"]),
    Route("/api/batches", batches.list_),
    Route("/api/batches/{batch_id}", batches.get),
    Route("/api/batches/{batch_id}", batches.cancel, methods=["DELETE"]),
    Route("/api/uploads", uploads.create, methods=["POST"]),
    Route("/api/uploads", stored_uploads.list_),
    Route("/api/uploads/{upload}", upload_parts.get),
    Route("/api/uploads/{upload}", upload_parts.abort, methods=["DELETE"]),
    Route("/api/uploads/{upload}/parts", upload_parts.list_parts),
    Route("/api/uploads/{upload}/parts/{number}", upload_parts.get_part_url),
    Route("/api/uploads/{upload}/complete", upload_parts.complete, methods=["POST"]),
    Route("/api/uploads/{key:path}/probe", probes.probe, methods=["POST"]),
    Route("/api/uploads/{key:path}/download-url", download_urls.create_for_upload, methods=["POST"]),
    Route("/api/uploads/uploads/{folder}/{name}", stored_uploads.delete, methods=["DELETE"]),
    Route("/api/files/{key:path}", files.get),
    Route("/api/files/{key:path}", files.put, methods=["PUT"]),
    Route("/api/callbacks/{job_id}/output", output_uploads.request_output_targets, methods=["POST"]),
    Route("/api/webhooks", endpoints.create, methods=["POST"]),
    Route("/api/webhooks", endpoints.list_),
    FixedRoute("/api/webhooks/portal-link", links.create_link, methods=["POST"]),
    FixedRoute("/api/webhooks/verify", verification.verify, methods=["POST"]),
    Route("/api/webhooks/{id}", endpoints.get),
    Route("/api/webhooks/{id}", endpoints.update, methods=["PATCH"]),
    Route("/api/webhooks/{id}", endpoints.delete, methods=["DELETE"]),
    Route("/api/webhooks/{id}/rotate", endpoints.rotate_secret, methods=["POST"]),
    Route("/api/webhooks/{id}/public-key", endpoints.public_key),
    Route("/api/webhooks/{id}/statistics", statistics.get),
    Route("/api/webhooks/{id}/listen", listeners.listen, methods=["POST"]),
    Route("/api/webhooks/{id}/test", deliveries.send_test, methods=["POST"]),
    Route("/api/webhooks/{id}/recover", deliveries.recover, methods=["POST"]),
    Route("/api/webhooks/{id}/deliveries", deliveries.list_),
    Route("/api/webhooks/{id}/deliveries/{delivery_id}", deliveries.get),
    Route("/api/webhooks/{id}/deliveries/{delivery_id}/redeliver", deliveries.redeliver, methods=["POST"]),
    Route("/api/webhooks/{id}/deliveries/{delivery_id}/outcome", listeners.post_outcome, methods=["POST"]),
    Route("/api/keys", keys.create, methods=["POST"]),
    Route("/api/keys", keys.list_),
    Route("/api/keys/{key_id}", keys.revoke, methods=["DELETE"]),
    Route("/api/stream-tickets", tickets.create_ticket, methods=["POST"]),
    *(web_module_route(name) for name in MODULES),
    Route("/", get_page),
    Route("/console/{file:path}", get_console_file),
    Route("/portal", get_portal),
    Route("/portal/portal.js", get_script),
    Route("/sample.mp4", get_sample),
    Route("/api/system", system.get),
    Route("/api/usage", usage.get),
    Route("/healthz", health.healthz),
    Route("/api/health", health.healthz),
    Route("/readyz", health.readyz),
    Route("/metrics", metrics.metrics),
    Route("/openapi.json", document.get_document),
    Route("/docs", handlers.show_reference),
    Route("/docs/assets/{asset}", handlers.show_asset),
    Route("/docs/guides/{guide}", handlers.show_guide),
    Route("/docs/guides/images/{image}", handlers.show_image),
    WebSocketRoute("/ws/export/{job_id}", websocket.export_socket),
    WebSocketRoute("/ws/exports", websocket.user_socket),
    Route("/ws/export/{job_id}", websocket.require_upgrade),
    Route("/ws/exports", websocket.require_upgrade),
]
