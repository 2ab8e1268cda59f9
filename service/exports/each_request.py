"""Check several requests, and name the one that is wrong."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from service.exports.models import ExportRequest
from service.problems import FieldError, Problem

Path = Sequence[str | int]
T = TypeVar("T")

MAX_ERRORS: Final = 100


@contextmanager
def problems_at(path: Path) -> Iterator[None]:
    """Name the place of a request in the body in the problems that the block raises."""
    try:
        yield
    except Problem as problem:
        if path:
            errors = problem.errors or [FieldError(loc=[], msg=problem.detail)]
            problem.errors = [FieldError(loc=[*path, *error["loc"]], msg=error["msg"]) for error in errors]
            place = ".".join(map(str, path))
            problem.detail = f"{place}: {problem.detail}"
        raise


class ProblemCollector:
    """Collects the problems of several requests, so that all errors of a kind are reported together."""

    def __init__(self) -> None:
        self._first: Problem | None = None

    @contextmanager
    def collect(self, path: Path) -> Iterator[None]:
        """Keep the problem that the block raises for the request at this place."""
        try:
            with problems_at(path):
                yield
        except Problem as problem:
            if self._first is None:
                self._first = problem
            elif problem.code == self._first.code and len(self._first.errors) < MAX_ERRORS:
                self._first.errors += problem.errors

    def raise_first(self) -> None:
        """Raise the first problem, with the errors of the others of its kind."""
        if self._first is not None:
            raise self._first


def check_each(requests: Iterable[ExportRequest], check: Callable[[ExportRequest], None]) -> None:
    """Check every request; raise the first problem, with the errors of the others of its kind."""
    problems = ProblemCollector()
    for request in requests:
        with problems.collect(request.path):
            check(request)
    problems.raise_first()
