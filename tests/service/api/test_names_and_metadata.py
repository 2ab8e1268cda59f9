"""Names and metadata: what is accepted, how it comes back, and how `PATCH` changes it."""

import asyncio
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from service.api.create_export import EditExport
from service.jobs.metadata import decode_metadata, encode_metadata
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness
from tests.support.fakes import FakeRun
from tests.support.problems import assert_problem

LARGEST = 2**53 - 1
NAMES = ["", "Final", "x" * 200, "🎬" * 200, "Ünïcode “quotes” \\ \u2028 עברית", "a\u00a0b", None]
METADATA: list[Any] = [
    None,
    {},
    {"order": "A-1024"},
    {"n": 5, "ratio": 0.5, "tiny": 1e-7, "rush": True, "draft": False},
    {"low": -LARGEST, "high": LARGEST, "zero": 0},
    {f"{key:x<40}": "v" * 500 for key in map(str, range(10, 26))},
    {"A.b-c_9": "🎬" * 500, "quote": '","x":"y', "empty": ""},
]
BAD_VALUES: list[tuple[str, str]] = [
    ("null", "null"),
    ("a list", "[1]"),
    ("an object", '{"a": 1}'),
    ("no number", "NaN"),
    ("infinity", "Infinity"),
    ("too large a fraction", "1e400"),
    ("a fraction beyond 2^53", "1e16"),
    ("2^53", str(2**53)),
    ("-2^53", str(-(2**53))),
    ("many digits", "9" * 400),
    ("501 characters", json.dumps("v" * 501)),
    ("NUL", '"a\\u0000"'),
    ("a line end", '"a\\nb"'),
    ("a C1 control character", '"a\\u0085b"'),
    ("half a character", '"\\ud800"'),
]


def export_json(app: AppHarness, **raw: str) -> bytes:
    """Return the body of an export with fields that are JSON already, also what Python's `json` would not write."""
    fields = "".join(f', "{name}": {text}' for name, text in raw.items())
    return (json.dumps(app.export_body())[:-1] + fields + "}").encode()


async def next_run_of(app: AppHarness, job_id: str, attempt: int = 1) -> FakeRun:
    """Return the run of the attempt; an earlier test may have left other exports in the database."""
    while True:
        run = await app.next_run()
        if (run.spec.job_id, run.spec.attempt) == (job_id, attempt):
            return run


async def wait_for_call(app: AppHarness, job_id: str, user: str) -> dict[str, Any]:
    """Return the export once its call is stored, after which only its run and the test change it."""
    async with asyncio.timeout(10):
        while True:
            answer = await app.client.get(f"/api/exports/{job_id}", headers=bearer(user))
            job: dict[str, Any] = answer.json()
            if job["call_id"] is not None:
                return job
            await asyncio.sleep(0.01)


async def patch(app: AppHarness, job_id: str, user: str = "local", **fields: object) -> dict[str, Any]:
    answer = await app.client.patch(f"/api/exports/{job_id}", json=fields, headers=bearer(user))
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_names_and_metadata_come_back_as_they_were_given(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    given = [*({"name": name} for name in NAMES), *({"metadata": metadata} for metadata in METADATA)]
    for number, fields in enumerate(given):
        user = f"echo {number}"
        job = await app.submit_export(user=user, headers=bearer(user), json=app.export_body(**fields))
        listed = (await app.client.get("/api/exports", headers=bearer(user))).json()["exports"]
        edited = await patch(app, job["job_id"], user, **fields)
        expected = {"name": None, "metadata": {}} | {key: value for key, value in fields.items() if value}
        if fields.get("name") == "":
            expected["name"] = ""
        for shown in (job, *listed, edited):
            assert json.dumps({key: shown[key] for key in expected}) == json.dumps(expected)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("text", [text for _, text in BAD_VALUES], ids=[name for name, _ in BAD_VALUES])
async def test_a_bad_value_is_rejected(app: AppHarness, method: str, text: str) -> None:
    path = "/api/exports"
    if method == "PATCH":
        path += f"/{(await app.submit_export())['job_id']}"
    raw = f'{{"n": {text}}}'
    body = export_json(app, metadata=raw) if method == "POST" else f'{{"metadata": {raw}}}'.encode()
    problem = assert_problem(
        await app.client.request(method, path, content=body, headers={"content-type": "application/json"}),
        422,
    )
    if problem["errors"][0]["loc"]:  # without, it is no JSON at all
        assert [error["loc"][:2] for error in problem["errors"]] == [["metadata", "n"]]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        pytest.param({"name": "x" * 201}, "name", id="a name of 201 characters"),
        pytest.param({"name": "a\u0000"}, "name", id="a name with NUL"),
        pytest.param({"name": "a\tb"}, "name", id="a name with a tab"),
        pytest.param({"name": "a\x7f"}, "name", id="a name with DEL"),
        pytest.param({"name": 5}, "name", id="a number for a name"),
        pytest.param({"metadata": []}, "metadata", id="a list for metadata"),
        pytest.param({"metadata": "a"}, "metadata", id="a string for metadata"),
        pytest.param({"metadata": {"": 1}}, "metadata", id="an empty key"),
        pytest.param({"metadata": {"k" * 41: 1}}, "metadata", id="a key of 41 characters"),
        pytest.param({"metadata": {"a b": 1}}, "metadata", id="a key with a space"),
        pytest.param({"metadata": {"ä": 1}}, "metadata", id="a key with an umlaut"),
        pytest.param({"metadata": {"a\n": 1}}, "metadata", id="a key with a line end"),
        pytest.param({"metadata": {str(n): n for n in range(17)}}, "metadata", id="17 keys"),
    ],
)
async def test_a_bad_field_is_rejected(app: AppHarness, fields: dict[str, Any], where: str) -> None:
    job = await app.submit_export()
    answers = [
        await app.client.post("/api/exports", json=app.export_body(**fields)),
        await app.client.patch(f"/api/exports/{job['job_id']}", json=fields),
    ]
    for answer in answers:
        assert {error["loc"][0] for error in assert_problem(answer, 422)["errors"]} == {where}


async def test_a_whole_number_is_one_however_it_is_written(app: AppHarness) -> None:
    app.put_object()
    body = export_json(app, metadata='{"a": 5.0, "b": 5e0, "c": -0.0}')
    answer = await app.client.post("/api/exports", content=body, headers={"content-type": "application/json"})
    assert '"metadata":{"a":5,"b":5,"c":0}' in answer.text


@pytest.mark.parametrize("field", ["name", "metadata"])
async def test_the_same_key_with_another_name_or_metadata_is_another_body(
    app: AppHarness, field: str
) -> None:
    original, other = {"name": ("a", "b"), "metadata": ({"n": 1}, {"n": 2})}[field]
    first = app.export_body(**{field: original, "export_id": "chosen-id"})
    second = app.export_body(**{field: other, "export_id": "chosen-id"})
    headers = {"idempotency-key": "key"}
    job = await app.submit_export(json=first, headers=headers)
    await patch(
        app, job["job_id"], "local", **{field: other}
    )  # what the export is called now makes no difference
    assert (await app.submit_export(json=first, headers=headers))["job_id"] == job["job_id"]
    assert (await app.submit_export(json=first))["job_id"] == job["job_id"]
    assert_problem(await app.client.post("/api/exports", json=second, headers=headers), 422)
    assert (
        assert_problem(await app.client.post("/api/exports", json=second), 422)["code"] == "export_id_taken"
    )


async def test_a_patch_changes_what_it_names_and_nothing_else(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    body = app.export_body(name="a", metadata={"n": 1, "k": "v"}, project_id=7, export_id="chosen-id")
    job_id = (await app.submit_export(user="changes", headers=bearer("changes"), json=body))["job_id"]
    expected = await wait_for_call(app, job_id, "changes")
    edits: list[dict[str, Any]] = [
        {"name": "b"},
        {"metadata": {"n": 2}},
        {"project_id": "x"},
        {"project_id": 8, "name": None},
        {"metadata": None, "project_id": None},
        {"metadata": {"n": 3}, "name": "c"},
        {"metadata": {}},
    ]
    for fields in edits:
        changed = {name: value if name != "metadata" else value or {} for name, value in fields.items()}
        expected = {**expected, **changed, "sequence": expected["sequence"] + 1}
        assert await patch(app, "chosen-id", "changes", **fields) == expected
        answer = await app.client.get(f"/api/exports/{job_id}", headers=bearer("changes"))
        assert answer.json() == expected
    assert await patch(app, job_id, "changes") == expected  # no field, no change


async def test_a_patch_works_in_every_state_and_a_retry_keeps_it(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    job_id = (await app.submit_export(user="states", headers=bearer("states")))["job_id"]
    path, seen = f"/api/exports/{job_id}", list[str]()

    async def rename() -> None:
        before = (await app.client.get(path, headers=bearer("states"))).json()
        after = await patch(app, job_id, "states", name=f"name {len(seen)}", metadata={"step": len(seen)})
        changes = {
            "name": f"name {len(seen)}",
            "metadata": {"step": len(seen)},
            "sequence": before["sequence"] + 1,
        }
        assert after == before | changes
        seen.append(after["status"])

    run = await next_run_of(app, job_id)
    await wait_for_call(app, job_id, "states")
    await rename()
    await run.report_started()
    await rename()
    await run.report_failed()
    await rename()
    answer = await app.client.post(f"{path}/retry", headers=bearer("states"))
    assert answer.status_code == 202, answer.text
    retried = answer.json()
    assert (retried["name"], retried["metadata"]) == ("name 2", {"step": 2})
    await app.client.delete(path, headers=bearer("states"))
    await rename()
    last_attempt = (await app.client.post(f"{path}/retry", headers=bearer("states"))).json()["attempt"]
    run = await next_run_of(app, job_id, last_attempt)
    await wait_for_call(app, job_id, "states")
    assert (await app.complete_run(run)).status_code == 200
    await rename()
    assert seen == ["pending", "processing", "error", "cancelled", "complete"]
    sequences = [int(str(event["sequence"])) for event in await app.fetch_timeline(job_id)]
    assert sequences == sorted(set(sequences))


async def test_an_export_of_another_user_is_not_there(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    job = await app.submit_export(user="another of", headers=bearer("another of"))
    for job_id in (job["job_id"], "unknown-id", "x" * 65):
        answer = await app.client.patch(
            f"/api/exports/{job_id}", json={"name": "a"}, headers=bearer("another")
        )
        assert assert_problem(answer, 404)["code"] == "not_found"
    shown = (await app.client.get(f"/api/exports/{job['job_id']}", headers=bearer("another of"))).json()
    assert shown["name"] is None


async def test_patches_beside_callbacks_leave_no_gap_in_the_sequence(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    job = await app.submit_export(user="races", headers=bearer("races"))
    run = await next_run_of(app, job["job_id"])
    await run.report_started()
    started = await wait_for_call(app, job["job_id"], "races")
    answers = [patch(app, job["job_id"], "races", metadata={"n": number}) for number in range(20)]
    edits, *callbacks = await asyncio.gather(
        asyncio.gather(*answers), *(run.report_progress(10 + number) for number in range(10))
    )
    taken = [answer.json()["sequence"] for answer in callbacks if answer.status_code == 200]
    last = (await app.client.get(f"/api/exports/{job['job_id']}", headers=bearer("races"))).json()
    sequences = [edit["sequence"] for edit in edits]
    assert len(set(sequences)) == 20
    # A late callback that changes nothing is answered with the present sequence, so edits are among these.
    every = set(range(started["sequence"] + 1, last["sequence"] + 1))
    assert set(sequences) <= every
    assert every <= {*sequences, *taken}
    indexed = await app.client.get(
        f"/api/exports?metadata.n={last['metadata']['n']}", headers=bearer("races")
    )
    assert [job["job_id"] for job in indexed.json()["exports"]] == [job["job_id"]]


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None)
@hypothesis.given(
    metadata=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True),
        st.one_of(
            st.booleans(),
            st.integers(-LARGEST, LARGEST),
            st.floats(-LARGEST, LARGEST),
            st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=500),
        ),
        max_size=16,
    )
)
def test_all_metadata_within_the_bounds_is_parsed_as_it_is(metadata: dict[str, Any]) -> None:
    parsed = EditExport.model_validate_json(json.dumps({"metadata": metadata}), strict=True).metadata
    assert parsed == metadata
    assert decode_metadata(encode_metadata(parsed)) == metadata
