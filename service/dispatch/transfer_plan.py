"""Plan where an attempt reads its sources and writes its output: local paths or signed URLs."""

import base64

from gpu.config import ExportConfig
from gpu.spec import LocalFile, RemoteObject, RemoteUpload, Transfer
from infra.storage import Storage
from service.ingest.finalizer import attempt_output_key
from service.jobs.models import Job

MAX_URL_SECONDS = 7 * 86_400  # what S3 allows


class TransferPlanner:
    """Plans transfers: paths for runs that share the file system, URLs for others."""

    def __init__(self, storage: Storage, *, origin: str, shares_filesystem: bool, url_seconds: float) -> None:
        """`url_seconds` is how long an attempt may wait and run, and so how long its URLs must be valid."""
        self._storage = storage
        self._origin = origin
        self._shares_filesystem = shares_filesystem
        self._url_seconds = min(int(url_seconds), MAX_URL_SECONDS)

    async def plan(self, job: Job, config: ExportConfig, key: bytes) -> Transfer:
        """Return the transfer of the job's current attempt; `key` signs its requests for upload URLs."""
        sources = {
            source_key: await self._source(job.user_id, source_key) for source_key in config.input_keys
        }
        return Transfer(sources=sources, output=self._output(job, key))

    async def _source(self, user_id: str, key: str) -> LocalFile | RemoteObject:
        path = self._storage.local_path(user_id, key)
        if self._shares_filesystem and path is not None:
            return LocalFile(path=str(path))
        signed = await self._storage.sign_read_url(user_id, key, expires_seconds=self._url_seconds)
        return RemoteObject(url=signed.url)

    def _output(self, job: Job, key: bytes) -> LocalFile | RemoteUpload:
        path = self._storage.local_path(job.user_id, attempt_output_key(job))
        if self._shares_filesystem and path is not None:
            return LocalFile(path=str(path))
        return RemoteUpload(
            url=f"{self._origin}/api/callbacks/{job.job_id}/output",
            key=base64.b64encode(key).decode(),
            attempt=job.attempt,
        )
