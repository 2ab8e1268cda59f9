"""The reasons to reject a request: one class each, with status, code and title.

`service.api.problem_handlers` renders them as RFC 9457.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict


class FieldError(TypedDict):
    """One error in a request: the path of the field, and what is wrong with it."""

    loc: list[str | int]
    msg: str


class Problem(Exception):
    """A reason to reject a request, as the client sees it.

    Programs branch on `code`, which never changes; people read `title`, and `detail` where a request has more to say.
    """

    title: ClassVar[str] = "The service failed to process the request."
    status: ClassVar[int] = 500
    code: str = "internal_error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.title
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(self.detail)


class Invalid(Problem):
    title = "The request is not valid."
    status = 422
    code = "invalid"


class ExportIdTaken(Invalid):
    title = "Another export already has this export_id."
    code = "export_id_taken"

    def __init__(self, export_id: str) -> None:
        reason = "was already used with a different request body; choose another id for a new export"
        super().__init__(
            f"The export_id {export_id!r} {reason}.",
            errors=[FieldError(loc=["export_id"], msg=f"it {reason}")],
        )


class Unauthenticated(Problem):
    title = "Authentication is required."
    status = 401
    code = "unauthenticated"


class UnknownHost(Problem):
    title = (
        "The service does not answer under the host name of this request; "
        "set PUBLIC_URL to the address that its clients use."
    )
    status = 400
    code = "unknown_host"


class WrongClock(Unauthenticated):
    """The request was signed more than five minutes before or after the service's time."""

    title = "The timestamp of the signature is too far from the service's clock."
    code = "clock_off"

    def __init__(self, now: float) -> None:
        super().__init__(
            "The request's webhook-timestamp differs from the service's clock by more than five minutes. "
            "Sign it again with the time in the webhook-timestamp header of this response.",
            headers={"webhook-timestamp": str(int(now))},
        )


class Forbidden(Problem):
    title = "You have no permission for this request."
    status = 403
    code = "forbidden"


class NotFound(Problem):
    title = "The resource does not exist."
    status = 404
    code = "not_found"


class Conflict(Problem):
    title = "The request conflicts with the current state."
    status = 409
    code = "conflict"


class AlreadyFinished(Conflict):
    title = "The export has already finished."
    code = "already_finished"


class AlreadyStarted(Conflict):
    title = "The export has started, so its priority can't change any more."
    code = "already_started"


class NotRetryable(Conflict):
    title = "Only a failed or cancelled export can be retried."
    code = "not_retryable"


class AttemptStillEnding(Conflict):
    title = "The last attempt is still storing its file; retry in a few seconds."
    code = "still_ending"


class OutputKeyInUse(Conflict):
    title = "Another export already uses this output key."
    code = "output_key_taken"


class AlreadyUploaded(Conflict):
    title = "This URL was already used for another file; request a new one with POST /api/uploads."
    code = "already_uploaded"


class OutputReplaced(Problem):
    title = "The exported file was replaced by another file."
    status = 410
    code = "output_replaced"


class Erased(Problem):
    title = "The resource was erased."
    status = 410
    code = "erased"


class NotComplete(Conflict):
    title = "The export is not complete."
    code = "not_complete"


class AttemptOver(Problem):
    title = "This attempt has ended; the run must stop."
    status = 410
    code = "attempt_over"


class TooLarge(Problem):
    title = "The request body is too large."
    status = 413
    code = "too_large"


class UnsupportedType(Problem):
    title = "The content type is not supported."
    status = 415
    code = "unsupported_type"


class QuotaExceeded(Problem):
    title = "You have reached a limit of the service."
    status = 429
    code = "quota_exceeded"


class Unavailable(Problem):
    title = "The service is temporarily unavailable; try again in a few seconds."
    status = 503
    code = "unavailable"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class TooManyConnections(Unavailable):
    title = "Too many connections are open; try again in a few seconds."
    code = "too_many_connections"


class StillFinalizing(Unavailable):
    title = (
        "Another request is already storing this export's output; send the callback again in a few seconds."
    )
    code = "still_finalizing"


class StorageUnreachable(Unavailable):
    title = "The storage is temporarily unavailable; try again in a few seconds."
    code = "storage_unavailable"


class StorageMisconfigured(Problem):
    """The storage refuses the service itself. Waiting changes nothing, so there is no Retry-After."""

    title = "The storage is configured incorrectly; the operator finds the cause in the service's log."
    status = 503
    code = "storage_misconfigured"


class DiskFullProblem(Problem):
    title = (
        "The service's disk is too full for this file; "
        "delete files that you no longer need, or ask the operator for more disk space."
    )
    status = 507
    code = "disk_full"


class MalformedRequest(Problem):
    title = "The request is not valid HTTP."
    status = 400
    code = "malformed_request"


class RequestTimeout(Problem):
    title = "The request was not received in time; send it again."
    status = 408
    code = "request_timeout"


class HeadTooLarge(Problem):
    title = "The request's header section is too large."
    status = 431
    code = "head_too_large"


class MethodNotAllowed(Problem):
    title = "This path does not support the method."
    status = 405
    code = "method_not_allowed"


class UpgradeRequired(Problem):
    title = "This path is that of a WebSocket; open it with one."
    status = 426
    code = "upgrade_required"

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "Upgrade"})
