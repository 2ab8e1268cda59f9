"""Write one operation as the document shows it."""

import inspect
from typing import Any

from openapi_pydantic import MediaType, Parameter, RequestBody
from openapi_pydantic import Operation as DocumentedOperation

from service.api.openapi.operations import Answer, Body, Operation, RequestHeader
from service.api.openapi.parameters import PATH_PARAMETERS
from service.api.openapi.problem_responses import ProblemResponses, list_problems
from service.api.openapi.schemas import Schema, query_parameters, refer_to
from service.api.openapi.security import list_requirements

JSON = "application/json"


def render_operation(
    operation: Operation,
    docstring: str,
    problem_responses: ProblemResponses,
    *,
    operation_id: str,
    path_names: list[str],
    asks_for_tokens: bool,
    method: str,
) -> DocumentedOperation:
    """Return the operation with its parameters, its body and every response."""
    summary, _, description = inspect.cleandoc(docstring).partition("\n\n")
    parameters = [
        *(_path_parameter(name) for name in path_names),
        *(parameter for parameter in _query_parameters(operation) if parameter.name not in path_names),
        *(_header_parameter(header) for header in operation.headers),
    ]
    problems = list_problems(operation, method, has_path_parameters=bool(path_names))
    responses = problem_responses.add(problems)
    for status, answer in operation.answers.items():
        response = _render_answer(answer)
        problem = responses.get(str(status))
        if problem is not None:  # a status may stand for an answer and for problems
            response["content"] = response.get("content", {}) | problem_responses.content_of(problem)
        responses[str(status)] = response
    documented: dict[str, Any] = {
        "tags": [operation.tag.value],
        "summary": summary.replace("\n", " ").rstrip("."),
        "operationId": operation_id,
        "responses": {status: responses[status] for status in sorted(responses)},
        "security": list_requirements(operation, method, asks_for_tokens=asks_for_tokens),
    }
    if description:
        documented["description"] = description
    if parameters:
        documented["parameters"] = parameters
    if operation.body is not None:
        documented["requestBody"] = _render_body(operation.body)
    return DocumentedOperation(**documented)


def _path_parameter(name: str) -> Parameter:
    description, schema = PATH_PARAMETERS[name]
    return _parameter(name, "path", schema, description, required=True)


def _query_parameters(operation: Operation) -> list[Parameter]:
    if operation.query is None:
        return []
    return [
        _parameter(name, "query", schema, schema.get("description", ""))
        for name, schema in query_parameters(operation.query).items()
    ]


def _header_parameter(header: RequestHeader) -> Parameter:
    schema: Schema = {"type": "string"}
    if header.pattern is not None:
        schema["pattern"] = header.pattern
    if header.max_length is not None:
        schema |= {"minLength": 1, "maxLength": header.max_length}
    return _parameter(header.name, "header", schema, header.description)


def _parameter(
    name: str, place: str, schema: Schema, description: str, *, required: bool = False
) -> Parameter:
    content: dict[str, Any] = {"name": name, "in": place, "required": required}
    content["schema"] = {key: value for key, value in schema.items() if key != "description"}
    return Parameter.model_validate(content | ({"description": description} if description else {}))


def _render_body(body: Body) -> RequestBody:
    media_type = MediaType(schema=refer_to(body.model)) if body.model is not None else MediaType()
    name = JSON if body.model is not None else "*/*"
    return RequestBody(content={name: media_type}, required=body.required)


def _render_answer(answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {"description": answer.description}
    content["content"] = {answer.media_type: {"schema": _describe_text(answer)}} if answer.media_type else {}
    if answer.model is not None:
        content["content"][JSON] = {"schema": refer_to(answer.model)}
    if answer.headers:
        content["headers"] = {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in answer.headers.items()
        }
    return {name: value for name, value in content.items() if value} | _render_messages(answer)


def _describe_text(answer: Answer) -> Schema:
    """Return the schema of text, or of each event of a stream, whose data is JSON as text."""
    if not answer.events:
        return {"type": "string"}
    events = [
        {
            "type": "object",
            "properties": {
                "event": {"const": name},
                "id": {"type": "string"},
                "retry": {"type": "integer"},
                "data": {
                    "type": "string",
                    "contentMediaType": JSON,
                    "contentSchema": refer_to(model),
                },
            },
            "required": ["event", "data"],
        }
        for name, model in answer.events.items()
    ]
    return {"description": "Each event of the stream.", "oneOf": events}


def _render_messages(answer: Answer) -> dict[str, Any]:
    """Return the messages and the close codes of a WebSocket, for which OpenAPI has no words."""
    extensions: dict[str, Any] = {
        "x-messages": {name: refer_to(model) for name, model in answer.messages.items()},
        "x-close-codes": {str(code): meaning for code, meaning in answer.close_codes.items()},
    }
    return {name: value for name, value in extensions.items() if value}
