"""Calls and watches of a page over real sockets: problems, tokens, recovery, restarts, and an end without leaks."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from service.dispatch.queue_updates import QueueUpdates
from tests.service.conftest import token
from tests.service.web.node_page import NodePage
from tests.support.live_server import DurableRunner, free_port, serve_app, settings_on
from tests.support.stream_server import StreamServer

SUBMIT = """
const config = { input_key: "uploads/match.mp4", keyframes: [{ time: 0, x: 0, y: 0, width: 320, height: 180 }] };
const print_ = ({ sequence, status }) => print({ sequence, status });
const failing = async (call) => {
  try { await call(); } catch (error) {
    const { name, status, code, errors, isNetworkError, isTemporary } = error;
    print({ name, status, code, errors: errors.length, isNetworkError, isTemporary });
  }
};
"""
CLIENT = SUBMIT + "const client = createClient({ baseUrl });"
UNKNOWN_ID = "01a2d000-0000-7000-8000-000000000000"


def put_source(server: StreamServer, user: str = "local") -> None:
    path = server.settings.data_dir / "objects" / user / "uploads" / "match.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")


async def look_at_queue(server: StreamServer) -> None:
    """Look at the queue at once, as the service does every few seconds, and send what has changed."""
    state = server.uvicorn.lifespan.state
    board = state["serializer"].describe_queue.__self__
    await board.refresh()
    await QueueUpdates(state["database"], board, state["hub"], state["serializer"]).send_changes(0)


async def test_a_failed_call_is_a_problem_with_a_code_that_programs_branch_on(page: NodePage) -> None:
    script = f"""
    await failing(() => client.get("{UNKNOWN_ID}"));
    await failing(() => client.export("framing", {{}}));
    fail = () => {{ throw new TypeError("Failed to fetch"); }};
    await failing(() => client.list());
    fail = () => new Response("<h1>Bad gateway</h1>", {{ status: 502 }});
    await failing(() => client.list());
    fail = () => new Response("<h1>Sign in to the Wi-Fi</h1>");
    await failing(() => client.list());
    """
    missing, invalid, network, gateway, portal = await page.run(CLIENT + script)
    assert missing == {
        "name": "FramehookProblem",
        "status": 404,
        "code": "not_found",
        "errors": 0,
        "isNetworkError": False,
        "isTemporary": False,
    }
    assert (invalid["status"], invalid["code"]) == (422, "invalid")
    assert invalid["errors"] > 0
    assert (network["status"], network["code"], network["isNetworkError"]) == (0, "network_error", True)
    assert (gateway["status"], gateway["code"], gateway["isTemporary"]) == (502, "unexpected_response", True)
    assert (portal["status"], portal["code"]) == (200, "unexpected_response")


async def test_a_watch_outlives_the_answers_of_a_proxy_that_are_not_the_services(
    server: StreamServer, page: NodePage
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    script = f"""
    const foreign = [200, 404, 511].map((status) => new Response("<h1>Sign in to the Wi-Fi</h1>", {{ status }}));
    fail = () => foreign.shift();
    const onConnection = ({{ state, problem }}) => print([state, problem?.code ?? null]);
    client.watch("{run.spec.job_id}", {{ onConnection, onEnd: print_ }});
    """
    printed: list[Any] = []
    async with page.start(CLIENT + script) as lines:
        async for line in lines:
            printed.append(line)
            if line == ["open", None]:
                await run.report_failed()
    assert printed[:3] == [["waiting", "unexpected_response"]] * 2 + [["open", None]]
    assert printed[-1]["status"] == "error"


async def test_a_submission_that_the_network_repeats_makes_one_export(
    server: StreamServer, page: NodePage
) -> None:
    put_source(server)
    script = """
    let lost = 2;
    const lose = globalThis.fetch;
    globalThis.fetch = async (...call) => {
      const response = await lose(...call);
      if (lost-- > 0) throw new TypeError("The answer was lost.");
      return response;
    };
    const { job_id } = await client.export("framing", config, { projectId: 7, exportId: "my-export-1" });
    print({ job_id, posts: calls.length });
    const { exports } = await client.list({ projectId: 7 });
    print(exports.map(({ job_id, export_id, project_id }) => [job_id, export_id, project_id]));
    """
    submitted, listed = await page.run(CLIENT + script)
    assert submitted["posts"] == 3
    assert listed == [[submitted["job_id"], "my-export-1", 7]]


async def test_a_reloaded_page_recovers_what_is_active_and_what_ended_unseen(
    server: StreamServer, page: NodePage
) -> None:
    ended, active = await server.submit_export(), await server.submit_export()
    await ended.report_failed()
    script = """
    const { active, unacknowledged, watch } = await client.recover((job) => print([job.job_id, job.status]));
    print([active.map((job) => job.job_id), unacknowledged.map((job) => job.job_id)]);
    await watch.done;
    print((await client.acknowledge()).length);
    print((await client.recover()).unacknowledged.length);
    """
    printed: list[Any] = []
    async with page.start(CLIENT + script) as lines:
        async for line in lines:
            printed.append(line)
            if line == [active.spec.job_id, "pending"]:
                await server.wait_for_call_id(active)
                await active.report_failed()
    ids = (ended.spec.job_id, active.spec.job_id)
    assert [[ids[1]], [ids[0]]] in printed
    assert [line for line in printed if line in ([ids[0], "error"], [ids[1], "error"])] == [
        [ids[0], "error"],
        [ids[1], "error"],
    ]
    assert printed[-2:] == [2, 0]


async def test_a_new_place_in_the_queue_is_an_update_of_the_same_sequence_on_every_transport(
    server: StreamServer, page: NodePage
) -> None:
    server.runner.free_slots = 0
    await server.post_export(export_id="the-first")
    await server.post_export(export_id="the-second")
    script = """
    Object.defineProperty(globalThis, "navigator", { value: {} }); // no locks: each client connects
    let refused;
    fail = (url) => (url.endsWith(refused) ? new Response("", { status: 503 }) : undefined);
    const open = (transport) => new Promise((resolve) => {
      createClient({ baseUrl }).watch({}, {
        onUpdate: ({ export_id, sequence, queue }) => print([transport, export_id, sequence, queue?.position ?? null]),
        onConnection: ({ state, transport: used }) => state === "open" && used === transport && resolve(print(used)),
      });
    });
    await open("websocket");
    globalThis.WebSocket = undefined;
    await open("events");
    refused = "/api/exports/events";
    await open("polling");
    """
    places: dict[str, list[tuple[int, int | None]]] = {"websocket": [], "events": [], "polling": []}
    transports = set(places)
    async with page.start(CLIENT + script) as lines:
        async for line in lines:
            if isinstance(line, str):
                transports.discard(line)
            elif line[1] == "the-second":
                places[line[0]].append((line[2], line[3]))
            if not transports and all((1, 2) in seen for seen in places.values()):
                transports = {"over"}
                await server.client.delete("/api/exports/the-first")
                await look_at_queue(server)
            if all(seen and seen[-1] == (1, 1) for seen in places.values()):
                break
    for seen in places.values():
        assert seen[-2:] == [(1, 2), (1, 1)]
        assert len(set(seen)) == len(seen)


async def test_an_export_may_be_watched_by_the_id_that_the_page_has_chosen_before_it_exists(
    server: StreamServer, page: NodePage
) -> None:
    put_source(server)
    script = """
    const watch = client.watch("order-2024-0001", { onUpdate: print_, onConnection: async ({ state }) => {
      if (state === "open") await client.export("framing", config, { exportId: "order-2024-0001" });
    } });
    await watch.done;
    print("over");
    """
    printed: list[Any] = []
    async with page.start(CLIENT + script) as lines:
        async for line in lines:
            printed.append(line)
            if len(printed) == 1:
                run_spec = await server.runner.next_spec()
                await server.client.delete(f"/api/exports/{run_spec.job_id}")
    assert printed[-2]["status"] == "cancelled"
    assert printed[-1] == "over"


async def test_an_export_that_does_not_exist_ends_its_watch_with_a_problem(page: NodePage) -> None:
    script = f"""
    const onProblem = ({{ code, exportId }}) => print([code, exportId]);
    await failing(() => client.watch("{UNKNOWN_ID}", {{ onProblem }}).done);
    await failing(async () => {{ for await (const job of client.watch(["{UNKNOWN_ID}"])) print(job); }});
    print(calls);
    """
    reported, rejected, iterated, calls = await page.run(CLIENT + script)
    assert reported == ["not_found", UNKNOWN_ID]
    assert (rejected["code"], iterated["code"]) == ("not_found", "not_found")
    assert calls == [f"GET /api/exports/{UNKNOWN_ID}"] * 2


async def test_an_export_that_has_ended_needs_no_connection(server: StreamServer, page: NodePage) -> None:
    run = await server.submit_export()
    await run.report_failed()
    script = f'client.watch("{run.spec.job_id}", {{ onEnd: print_ }}).done.then(() => print(calls));'
    ended, calls = await page.run(CLIENT + script)
    assert ended["status"] == "error"
    assert calls == [f"GET /api/exports/{run.spec.job_id}"]


async def test_an_edit_after_the_end_is_an_update_and_no_second_end(
    server: StreamServer, page: NodePage
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    path = f"/api/exports/{run.spec.job_id}"
    script = """
    client.watch({}, {
      onUpdate: (job) => print(["update", job.attempt, job.status, job.name]),
      onEnd: (job) => print(["end", job.attempt, job.status, job.name]),
    });
    """
    printed: list[Any] = []
    async with page.start(CLIENT + script) as lines:
        async for line in lines:
            printed.append(line)
            if len(printed) == 1:
                await run.report_failed()
            elif line == ["end", 1, "error", None]:
                await server.client.patch(path, json={"name": "edited"})
            elif line == ["update", 1, "error", "edited"]:
                await server.client.post(f"{path}/retry")
                await (await server.next_run()).report_failed()
            elif line[0] == "end":
                break
    assert [line for line in printed if line[0] == "end"] == [
        ["end", 1, "error", None],
        ["end", 2, "error", "edited"],
    ]


async def test_leaving_a_loop_closes_the_watch_and_the_connection(
    server: StreamServer, page: NodePage
) -> None:
    await server.submit_export()
    script = "for await (const job of client.watch()) { print_(job); break; }"
    assert len(await page.run(CLIENT + script)) == 1  # Node would not end with a connection or a timer left


async def test_a_token_that_has_expired_is_replaced_once_for_all_calls(signed_in_page: NodePage) -> None:
    tokens = json.dumps([token("ada", exp=1), token("ada")])
    script = f"""
    const tokens = {tokens};
    const client = createClient({{ baseUrl, token: async () => {{ print("asked"); return tokens.shift(); }} }});
    const answers = await Promise.all([client.list(), client.list(), client.recover()]);
    print(answers.length);
    """
    assert await signed_in_page.run(SUBMIT + script) == ["asked", "asked", 3]


async def test_a_token_that_stays_invalid_is_a_problem_and_not_a_storm(signed_in_page: NodePage) -> None:
    expired = token("ada", exp=1)
    script = f"""
    for (const token of ["{expired}", () => "{expired}", undefined]) {{
      const client = createClient({{ baseUrl, token }});
      const onProblem = ({{ status, code }}) => print([status, code]);
      await client.watch(undefined, {{ onProblem }}).done.catch(() => print(calls.splice(0).length));
    }}
    """
    unauthenticated = [401, "unauthenticated"]
    expected = [unauthenticated, 1, unauthenticated, 2, unauthenticated, 1]
    assert await signed_in_page.run(SUBMIT + script) == expected


async def test_a_watch_sees_the_end_of_an_export_across_a_restart_of_the_service(
    data_dir: Path, tmp_path: Path
) -> None:
    settings = settings_on(free_port(), data_dir)
    runner = DurableRunner()
    page = NodePage(f"127.0.0.1:{settings.port}", tmp_path)
    async with AsyncExitStack() as first:
        server = await first.enter_async_context(serve_app(settings, runner))
        (data_dir / "objects" / "local" / "uploads").mkdir(parents=True)
        (data_dir / "objects" / "local" / "uploads" / "match.mp4").write_bytes(b"video")
        script = """
        const { job_id } = await client.export("framing", config);
        const onConnection = ({ state, transport }) => print([state, transport ?? null]);
        await client.watch(job_id, { onConnection, onEnd: print_ }).done;
        """
        async with page.start(CLIENT + script) as lines:
            assert await anext(lines) == ["open", "websocket"]
            run = await server.next_run()
            await first.aclose()
            assert await anext(lines) == ["waiting", None]
            async with serve_app(settings, DurableRunner()) as second:
                again = type(run)(run.spec, second.http)
                async with asyncio.timeout(60):
                    while (await again.report_failed()).status_code != 200:  # noqa: ASYNC110 - polls the service
                        await asyncio.sleep(0.1)
                rest = [line async for line in lines]
    assert rest[-1]["status"] == "error"
