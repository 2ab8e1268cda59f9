"""`framehook demo`, as `make run` starts it: a real service and a real export."""

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from service import sample_video

DEMO = (sys.executable, "-m", "service.cli.main", "demo")
PATIENCE_SECONDS = 120


def environment(**changes: str) -> Mapping[str, str]:
    """Return this process's environment without settings of the service, and with `changes`."""
    ours = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH", "TMPDIR")
    }
    return {**ours, "PYTHONUNBUFFERED": "1", "TERM": "xterm", **changes}


def demo(*words: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *map(str, words)],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@contextmanager
def on_a_terminal(*words: str | Path) -> Iterator[tuple["subprocess.Popen[bytes]", Iterator[str]]]:
    """Run the demo on a terminal; yield the process and what it writes."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*DEMO, *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        close_fds=True,
    )
    os.close(theirs)
    try:
        yield child, read_output(ours)
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def read_output(terminal: int) -> Iterator[str]:
    while True:
        try:
            yield os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # raised when the other side of the terminal is closed
            return


def read_until(output: Iterator[str], wanted: str) -> str:
    seen = ""
    for text in output:
        seen += text
        if wanted in seen:
            return seen
    raise AssertionError(seen)


def ball(frame: av.VideoFrame) -> float:
    """Return the horizontal distance of the ball from the middle of the frame, in pixels."""
    width, height = frame.width, frame.height
    planes = frame.to_ndarray(format="yuv420p")
    red = planes[height * 5 // 4 :].reshape(height // 2, width // 2)
    return float(2 * np.nonzero(red > 175)[1].mean() + 1 - width / 2)


def is_port_in_use(port: int) -> bool:
    with socket.socket() as probe_socket:
        return probe_socket.connect_ex(("127.0.0.1", port)) == 0


def test_the_demo_exports_a_crop_that_follows_the_ball(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = demo("--port", str(port), "--data-dir", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Port {port} is in use; using " in done.stdout
    assert "The export is complete: 608x1080, 10.0 s" in done.stdout
    assert "\x1b" not in done.stdout
    assert (
        "The service has stopped, because this is not a terminal; `framehook serve` keeps it running"
        in done.stdout
    )
    with av.open(str(tmp_path / "demo/vertical.mp4")) as container:
        away = [ball(frame) for frame in container.decode(video=0)]
        assert container.streams.audio[0].duration is not None
    assert (len(away), max(map(abs, away)) < 6) == (300, True)


def test_on_a_terminal_the_service_goes_on_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with on_a_terminal("--port", "0", "--data-dir", tmp_path) as (child, output):
        seen = read_until(output, "until you press Ctrl-C")
        url = "http://" + seen.rpartition("http://")[2].split()[0]
        ready = httpx.get(f"{url}/readyz", trust_env=False).status_code
        second = demo("--data-dir", tmp_path)
        child.send_signal(signal.SIGTERM)
        read_until(output, "Stopped")
        status = child.wait(PATIENCE_SECONDS)
    assert (ready, status, is_port_in_use(int(url.rpartition(":")[2]))) == (200, 0, False)
    assert (second.returncode, "another demo is running" in second.stderr) == (1, True)
    assert "\x1b[?25h" in seen  # the live bar has given the cursor back


def test_ctrl_c_on_the_way_ends_the_service_too(tmp_path: Path) -> None:
    with on_a_terminal("--port", "0", "--data-dir", tmp_path) as (child, output):
        seen = read_until(output, "ready at ")
        while "\n" not in seen.rpartition("ready at ")[2]:
            seen += next(output)
        child.send_signal(signal.SIGINT)
        read_until(output, "Stopped")
        status = child.wait(PATIENCE_SECONDS)
    port = int(seen.rpartition("http://127.0.0.1:")[2].split()[0])
    assert (status, is_port_in_use(port)) == (130, False)


def test_a_service_that_does_not_start_shows_why(tmp_path: Path) -> None:
    done = demo(
        "--data-dir", tmp_path, "--port", "0", DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path}/none/x.db"
    )
    assert done.returncode == 1
    assert "framehook: the service stopped with status" in done.stderr
    assert f"framehook: DATABASE_URL: {tmp_path}/none/x.db can't be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("time", [0.0, 1.3, 7.7])
def test_the_crop_keeps_the_ball_in_its_middle(time: float) -> None:
    keyframes = sample_video.follow_ball(607.5)
    times = [keyframe["time"] for keyframe in keyframes]
    middle = np.interp(time, times, [keyframe["x"] + keyframe["width"] / 2 for keyframe in keyframes])
    assert abs(middle - sample_video.ball_center(time)[0]) < 12


def test_the_sample_has_what_it_says(tmp_path: Path) -> None:
    sample_video.write_video(tmp_path / "sample.mp4")
    with av.open(str(tmp_path / "sample.mp4")) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.frames) == (1920, 1080, 300)
        assert video.average_rate == 30
        assert sound.duration is not None
        assert sound.time_base is not None
        assert float(sound.duration * sound.time_base) == pytest.approx(10, abs=0.05)
