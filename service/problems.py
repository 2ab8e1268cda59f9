"""The reasons for which a request is rejected: one class each, with its HTTP status, code and title.

`service.api.problem_handlers` renders them as RFC 9457.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict


class FieldError(TypedDict):
    """One error in a request: the path of the field, and what is wrong with it."""

    loc: list[str | int]
    msg: str


class Problem(Exception):
    """A reason to reject a request, as the client sees it: a status, a code and a title for each class.

    Programs branch on `code`, which never changes; people read `title`, and `detail` where a request has more to say.
    """

    title: ClassVar[str] = "The request could not be served."
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


class Unauthenticated(Problem):
    title = "The request carries no valid credentials."
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

    title = "The request was not signed at the service's time."
    code = "clock_off"

    def __init__(self, now: float) -> None:
        super().__init__(
            "The request was signed more than five minutes before or after the service's time; "
            "sign it anew by the time in this answer's webhook-timestamp.",
            headers={"webhook-timestamp": str(int(now))},
        )


class Forbidden(Problem):
    title = "The credentials do not allow this."
    status = 403
    code = "forbidden"


class NotFound(Problem):
    title = "There is no such thing here."
    status = 404
    code = "not_found"


class Conflict(Problem):
    title = "The request does not fit the present state."
    status = 409
    code = "conflict"


class AlreadyFinished(Conflict):
    title = "The export has already finished."
    code = "already_finished"


class NotRetryable(Conflict):
    title = "Only a failed or cancelled export can be retried."
    code = "not_retryable"


class AttemptStillEnding(Conflict):
    title = "The export was cancelled while its file was put into its place; try again in a moment."
    code = "still_ending"


class OutputKeyInUse(Conflict):
    title = "Another export has this output key."
    code = "output_key_taken"


class AlreadyUploaded(Conflict):
    title = "Another file was uploaded to this URL before; ask for a new one with POST /api/uploads."
    code = "already_uploaded"


class OutputReplaced(Problem):
    title = "The file that was exported is not there any more: another lies in its place."
    status = 410
    code = "output_replaced"


class NotComplete(Conflict):
    title = "The export is not complete."
    code = "not_complete"


class AttemptOver(Problem):
    title = "This attempt is over: stop now."
    status = 410
    code = "attempt_over"


class TooLarge(Problem):
    title = "The body is too large."
    status = 413
    code = "too_large"


class UnsupportedType(Problem):
    title = "The content type is not supported."
    status = 415
    code = "unsupported_type"


class QuotaExceeded(Problem):
    title = "The quota is used up."
    status = 429
    code = "quota_exceeded"


class Unavailable(Problem):
    title = "The service can't do this right now; try again shortly."
    status = 503
    code = "unavailable"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class TooManyConnections(Unavailable):
    title = "Too many connections are open; try again shortly."
    code = "too_many_connections"


class StillFinalizing(Unavailable):
    title = "The export's output is being checked and moved already; ask again shortly."
    code = "still_finalizing"


class StorageUnreachable(Unavailable):
    title = "The storage can't be reached right now; try again shortly."
    code = "storage_unavailable"


class StorageMisconfigured(Unavailable):
    title = "The storage is not set up as it should be; its operator has been told in the log."
    code = "storage_misconfigured"


class DiskFullProblem(Problem):
    title = (
        "The service's disk has no room for this file; "
        "remove files that are not needed, or ask its operator for a larger disk."
    )
    status = 507
    code = "disk_full"


class MalformedRequest(Problem):
    title = "The request is not valid HTTP."
    status = 400
    code = "malformed_request"


class RequestTimeout(Problem):
    title = "The request did not come in time; send it again."
    status = 408
    code = "request_timeout"


class HeadTooLarge(Problem):
    title = "The request's head is too large."
    status = 431
    code = "head_too_large"


class MethodNotAllowed(Problem):
    title = "This method is not allowed here."
    status = 405
    code = "method_not_allowed"
