"""Blobs: values too large for a message, created over gRPC and transferred by HTTP PUT and GET."""

import hashlib
import re
import time
from pathlib import Path

from grpclib import GRPCError, Status
from modal_proto import api_pb2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from infra.modal_local.state import Store, new_id


class Blobs:
    """Blobs as files in a folder; the id of a blob permits to read it, like a presigned URL."""

    def __init__(self, store: Store) -> None:
        self._folder = store.directory / "blobs"
        self._folder.mkdir(exist_ok=True)
        self.url = ""
        self.routes = [
            Route("/blobs/{blob_id}", self._put, methods=["PUT"]),
            Route("/blobs/{blob_id}", self._get, methods=["GET"]),
        ]

    def path(self, blob_id: str) -> Path:
        """Return the path of a blob, stored or not; raises NOT_FOUND for an invalid id."""
        if not re.fullmatch("bl-[0-9a-f]{22}", blob_id):
            raise GRPCError(Status.NOT_FOUND, f"Blob {blob_id!r} not found")
        return self._folder / blob_id

    def delete_old(self, retention_seconds: float) -> None:
        """Delete the blobs that are older than `retention_seconds`."""
        oldest = time.time() - retention_seconds
        for path in self._folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()

    async def blob_create(self, _request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Return a new id and the URL to PUT its content."""
        blob_id = new_id("bl")
        response = api_pb2.BlobCreateResponse(blob_id=blob_id, blob_ids=[blob_id])
        response.upload_urls.items.append(f"{self.url}/blobs/{blob_id}")
        return response

    async def blob_get(self, request: api_pb2.BlobGetRequest) -> api_pb2.BlobGetResponse:
        """Return the URL to GET the content of a blob."""
        if not self.path(request.blob_id).exists():
            raise GRPCError(Status.NOT_FOUND, f"Blob {request.blob_id!r} not found")
        return api_pb2.BlobGetResponse(download_url=f"{self.url}/blobs/{request.blob_id}")

    async def _put(self, request: Request) -> Response:
        path = self._blob_path(request)
        # As with S3, the SDK compares the ETag with the MD5 of what it sent.
        checksum = hashlib.md5(usedforsecurity=False)
        with path.with_suffix(".part").open("wb") as file:
            async for chunk in request.stream():
                checksum.update(chunk)
                file.write(chunk)
        path.with_suffix(".part").rename(path)
        return Response(headers={"ETag": f'"{checksum.hexdigest()}"'})

    async def _get(self, request: Request) -> Response:
        path = self._blob_path(request)
        if not path.exists():
            raise HTTPException(404)
        return FileResponse(path)

    def _blob_path(self, request: Request) -> Path:
        try:
            return self.path(request.path_params["blob_id"])
        except GRPCError:
            raise HTTPException(404) from None
