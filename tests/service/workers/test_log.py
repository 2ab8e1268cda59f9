"""Log records of runs are in the service's log, one line each with the attempt; in JSON every line is an object."""

import asyncio
import json
import logging
import signal
from pathlib import Path

import pytest

from service.workers.log import MAX_LINES_PER_RUN, log_run, record_from
from tests.support.service_process import CROP, ServiceProcess

LINE = b'{"time": "2026-01-02T03:04:05.000+00:00", "level": "info", "logger": "gpu.attempt", "message": "m"}'


@pytest.mark.parametrize(
    ("line", "name", "level", "message"),
    [
        (LINE, "gpu.attempt", "INFO", "m"),
        (b"corrupted size vs. prev_size", "gpu.stderr", "WARNING", "corrupted size vs. prev_size"),
        (b"\xff\xfe", "gpu.stderr", "WARNING", "\ufffd\ufffd"),
        (b"[]", "gpu.stderr", "WARNING", "[]"),
        (b'{"level": "shout", "logger": "x"}', "gpu.stderr", "WARNING", '{"level": "shout", "logger": "x"}'),
        (b"[" * 100_000, "gpu.stderr", "WARNING", "[" * 100_000),
    ],
)
def test_any_line_of_a_run_becomes_a_record(line: bytes, name: str, level: str, message: str) -> None:
    record = record_from(line, "job-1", 2)
    assert (record.name, record.levelname, record.getMessage()) == (name, level, message)
    assert (record.__dict__["job"], record.__dict__["attempt"]) == ("job-1", 2)


async def test_a_run_that_never_stops_writing_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"x\n" * 5_000 + b"y" * 1_000_000)
    stream.feed_eof()
    await log_run(stream, "job-1", 1)
    assert len(caplog.records) == MAX_LINES_PER_RUN + 1


async def test_the_last_words_of_a_run_are_logged_without_a_line_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stream = asyncio.StreamReader()
    stream.feed_data(LINE + b"\nAborted")
    stream.feed_eof()
    await log_run(stream, "job-1", 1)
    assert [record.getMessage() for record in caplog.records] == ["m", "Aborted"]


async def test_every_line_of_the_service_and_its_runs_is_an_object_and_a_broken_file_is_one_of_them(
    tmp_path: Path,
) -> None:
    async with ServiceProcess(tmp_path, {"LOG_FORMAT": "json"}) as service:
        await service.http.get("/a%0d%0a2026-01-01%20ERROR%20x:%20forged%1b%c2%85%e2%80%a8")
        body = {"filename": "a.mp4", "size": 9, "content_type": "video/mp4", "parts": True}
        upload = (await service.http.post("/api/uploads", json=body)).json()["upload"]
        await service.http.get(f"/api/uploads/{upload}")
        await service.http.get("/api/exports?ticket=hunter2")
        key = await service.upload(b"no video")
        job_id = await service.submit_export({"input_key": key, "keyframes": [CROP], "parallelism": 2})
        await service.wait_until_ended(job_id)
        service.stop(signal.SIGTERM)
        lines = service.log.splitlines()
        await service.start()  # to be ended at the end
    records = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in records)
    [about_it] = [record for record in records if record["logger"].startswith("gpu")]
    assert (about_it["job"], about_it["attempt"]) == (job_id, 1)
    assert "exception" not in about_it
    assert "source_unreadable" in about_it["message"]
    assert upload not in service.log
    assert "hunter2" not in service.log
    assert not any(character in service.log for character in "\r\x1b\x85\u2028")
