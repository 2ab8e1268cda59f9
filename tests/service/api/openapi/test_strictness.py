"""What the document says is refused is refused, in plain words, and what it allows is accepted."""

from typing import Any

import pytest

from tests.support.app_harness import FRAMING, SOURCE, AppHarness
from tests.support.problems import assert_problem

CONFIG = {"input_key": SOURCE, **FRAMING}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a number in quotes": ({"fps": "30"}, "config.fps: Input should be a valid number"),
    "a boolean in quotes": (
        {"include_audio": "yes"},
        "config.include_audio: Input should be a valid boolean",
    ),
    "a fraction for an integer": (
        {"parallelism": 2.5},
        "config.parallelism: Input should be a valid integer",
    ),
    "an unknown field": ({"colour": "red"}, "config.colour: unknown field; remove it, or correct its name"),
    "no keyframes": ({"keyframes": None}, "config.keyframes: Input should be a valid array"),
    "tracks that are none": (
        {"audio": {"track": "first"}},
        'config.audio: audio is "all", {"track": number} or {"mix": [number, …]} with 1 to 32 numbers',
    ),
}


@pytest.mark.parametrize(("change", "detail"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_config_is_refused_in_plain_words(
    app: AppHarness, change: dict[str, Any], detail: str
) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json={"type": "framing", "config": CONFIG | change})
    assert assert_problem(answer, 422)["detail"] == detail


async def test_an_integer_may_be_written_with_a_decimal_point(app: AppHarness) -> None:
    app.put_object()
    config = CONFIG | {"parallelism": 2.0, "output_width": 320.0, "output_height": 180.0}
    assert (await app.client.post("/api/exports", json={"type": "framing", "config": config})).is_success


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "the body is not valid JSON: EOF while parsing an object at line 1 column 1"),
        (b'{"type": "framing"}', "config: this field is required"),
        (b"[]", "Input should be an object"),
    ],
)
async def test_a_wrong_body_is_refused_in_plain_words(app: AppHarness, content: bytes, detail: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await app.client.post("/api/exports", content=content, headers=headers)
    assert assert_problem(answer, 422)["detail"] == detail


async def test_a_body_of_many_unknown_fields_gets_a_short_answer(app: AppHarness) -> None:
    body = {"x" * 5_000 + str(number): 1 for number in range(200)}
    problem = assert_problem(await app.client.post("/api/exports", json=body), 422)
    assert len(problem["errors"]) == 50
    assert max(len(error["loc"][0]) for error in problem["errors"]) == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/exports/active", "GET, HEAD, OPTIONS"),
        ("/api/exports/acknowledge", "OPTIONS, POST"),
        ("/api/webhooks/verify", "OPTIONS, POST"),
        ("/api/exports", "GET, HEAD, OPTIONS, POST"),
        ("/api/exports/some-id", "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ],
)
async def test_other_methods_are_refused_with_those_that_the_path_has(
    app: AppHarness, path: str, allowed: str
) -> None:
    answer = await app.client.put(path)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == allowed
    assert (await app.client.options(path)).headers["allow"] == allowed
    if "DELETE" not in allowed:
        assert_problem(await app.client.delete(path), 405)
