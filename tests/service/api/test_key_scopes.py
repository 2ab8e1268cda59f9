"""Each route takes the keys that have its scope, and no others. The document says the same."""

import json
from typing import Final

from gpu.export_types.registry import get_export_types
from service.api.openapi.document import encode_document
from service.api.routes import ROUTES
from service.keys.scopes import Scope
from tests.service.api import test_access_matrix as matrix
from tests.service.keys.api_keys import create_key

service = matrix.service
READS_BY_POST: Final = {
    "POST /api/exports/estimate",
    "POST /api/exports/{job_id}/download-url",
    "POST /api/stream-tickets",
    "POST /api/uploads/{key}/probe",
    "POST /api/uploads/{key}/download-url",
    "POST /api/webhooks/verify",
}
ALSO_READS: Final = {"POST /api/webhooks/portal-link": Scope.WEBHOOKS_READ}
"""The page that it leads to shows what it changes."""
WRITES_BY_GET: Final = {"GET /api/uploads/{upload}/parts/{number}"}
"""It returns a URL to which a part is written."""
SUBJECTS: Final = {
    "exports": ("/api/exports", "/api/batches", "/api/stream-tickets", "/ws/"),
    "uploads": ("/api/uploads",),
    "webhooks": ("/api/webhooks",),
    "usage": ("/api/usage",),
    "system": ("/api/system",),
    None: ("/api/keys",),
}
ROWS: Final = sorted(
    matrix.list_rows(
        matrix.Need.TOKEN, matrix.Need.PORTAL, matrix.Need.OPERATOR, *matrix.OF_OWNER, *matrix.STREAMS
    ),
    key=lambda row: row.startswith("DELETE"),  # deletions last
)


def find_scope(row: str) -> Scope | None:
    """Return the scope that a key needs for a row of the matrix; None if the row takes no key."""
    method, path = row.split(" ")
    (subject,) = (name for name, starts in SUBJECTS.items() if path.startswith(starts))
    reads = (method in ("GET", "SOCKET") or row in READS_BY_POST) and row not in WRITES_BY_GET
    return None if subject is None else Scope(f"{subject}:{'read' if reads else 'write'}")


async def test_a_key_opens_what_its_scopes_say_and_nothing_else(service: matrix.Service) -> None:
    client, ada = service.server.client, {"authorization": f"Bearer {matrix.claim()}"}
    _, all_scopes = await create_key(client, ada)
    others = {scope: (await create_key(client, ada, *(set(Scope) - {scope})))[1] for scope in Scope}
    own = {scope: (await create_key(client, ada, scope))[1] for scope in Scope}
    both = {
        row: (await create_key(client, ada, Scope.WEBHOOKS_WRITE, scope))[1]
        for row, scope in ALSO_READS.items()
    }
    wrong = []
    for row in ROWS:
        scope = find_scope(row)
        refusal = await service.send(row, **(all_scopes if scope is None else others[scope]))
        answer = 200 if scope is None else await service.send(row, **both.get(row, own[scope]))
        # ada is no operator
        if refusal != 403 or (answer in (401, 403) and scope is not Scope.SYSTEM_READ):
            wrong.append((row, refusal, answer))
    assert wrong == []


async def test_the_document_names_the_scope_of_each_operation() -> None:
    paths = json.loads(encode_document(ROUTES, get_export_types().load_all()))["paths"]
    for row in ROWS:
        method, path = row.replace("SOCKET", "GET").split(" ")
        security = paths[path][method.lower()]["security"]
        scope = find_scope(row)
        assert ({"api_key": [scope]} in security) == (scope is not None), row
