"""Options that several commands have in common, as one parameter: a dataclass with a field for each option."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as Typer has to see it: each field of a dataclass among its parameters is an option.

    The name of a field is that of its option, unless its annotation says another.
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if is_dataclass(parameter.annotation)
    }

    @wraps(command)
    def run(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        is_group = parameter.name in groups
        parameters += _list_parameters(parameter.annotation) if is_group else [parameter]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def _list_parameters(group: Any) -> list[inspect.Parameter]:
    """Return a keyword parameter for each field of a dataclass."""
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(group)
    ]
