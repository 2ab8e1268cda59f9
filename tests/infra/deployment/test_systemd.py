"""The unit is one that systemd accepts; it confines the service and restarts it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from service.startup.statuses import CONFIGURATION_STATUS
from tests.infra.deployment.deployment_files import INFRA, SETTING_NAMES

UNIT = INFRA / "systemd" / "framehook.service"
PROGRAM = "/opt/framehook/bin/framehook"


def read_service() -> dict[str, list[str]]:
    """Return the values of each name in the section `[Service]`."""
    section = UNIT.read_text().split("[Service]\n")[1].split("[Install]\n")[0]
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        values.setdefault(name, []).append(value)
    return values


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_unit_sets_settings_only_and_reads_all_others_from_a_file() -> None:
    service = read_service()
    names = {word.split("=")[0] for line in service["Environment"] for word in line.split()}
    assert names - {"PATH", "PYTHONUNBUFFERED"} <= SETTING_NAMES
    assert "WATCHDOG_SECONDS" in names
    assert service["EnvironmentFile"] == ["/etc/framehook/framehook.env"]


def test_the_unit_restarts_whatever_ends_unless_settings_are_wrong() -> None:
    service = read_service()
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == [str(CONFIGURATION_STATUS)]
    assert int(service["TimeoutStopSec"][0]) >= 30


@pytest.mark.parametrize("status", [0, CONFIGURATION_STATUS])
def test_systemd_sees_the_status_of_an_upgrade_that_failed(tmp_path: Path, status: int) -> None:
    program = tmp_path / "framehook"
    program.write_text(f'#!/bin/sh\necho "$$ $*"\n[ "$1" = serve ] || exit {status}\n')
    program.chmod(0o700)
    service = read_service()
    assert not {"ExecStartPre", "ExecCondition"} & set(service)
    command = shlex.split(service["ExecStart"][0].replace(PROGRAM, str(program)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [line.split(" ", 1) for line in process.stdout.read().splitlines()]
    assert process.returncode == status
    assert [line[1] for line in lines] == ["db upgrade", "serve"][: 2 if status == 0 else 1]
    if status == 0:
        assert lines[1][0] == str(process.pid), "signals would not reach the service"


def test_the_unit_limits_and_confines_the_service() -> None:
    service = read_service()
    assert service["User"] == ["framehook"]
    assert {"MemoryMax", "CPUQuota", "TasksMax", "LimitNOFILE"} <= set(service)
    assert service["ProtectSystem"] == ["strict"]
    assert service["NoNewPrivileges"] == ["true"]
    assert service["CapabilityBoundingSet"] == [""]
    assert not any(re.search("SECRET|TOKEN|KEY|PASSWORD", line) for line in service["Environment"])
