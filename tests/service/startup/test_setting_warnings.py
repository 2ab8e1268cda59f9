"""Settings that work, but seldom as they are meant, are named with what to do, and no value is quoted."""

import json
import logging
import sys
import threading
from pathlib import Path

import pytest
import typer

from service.settings import find_unknown_settings, find_warnings
from service.settings.env_file import find_value
from service.startup.commands import load_settings_or_exit
from tests.service.startup.test_settings import EVERYWHERE, JWT, SECRET, load_with

pytestmark = pytest.mark.usefixtures("environment")


def test_names_that_are_no_settings_are_reported(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "export DATABSE_URL=hunter2\n# PROT=1\nPOSTGRES_PASSWORD=x\nR2_BUCKET=videos\nPORT=81\n"
        "MODAL_MAX_CONTAINERS=9\nMODAL_ENVIRONMENT=main\nMODAL_APP=x\nPORT=82\n"
    )
    environment.setenv("MAX_ACTIVE_PER_USERS", "hunter2")
    environment.setenv("HOSTNAME", "box")
    sentences = find_unknown_settings()
    assert sentences == [
        ".env: line 1: DATABSE_URL is not a setting; did you mean DATABASE_URL?",
        ".env: line 3: POSTGRES_PASSWORD is not a setting and is ignored",
        ".env: line 4: R2_BUCKET is not a setting; did you mean R2_BUCKET_NAME?",
        ".env: line 9 sets PORT again; line 5 has no effect, remove one",
        ".env: line 7: MODAL_ENVIRONMENT is not a setting; what Modal's SDK reads has to be in the environment",
        ".env: line 8: MODAL_APP is not a setting; did you mean MODAL_APP_NAME?",
        "MAX_ACTIVE_PER_USERS in the environment is not a setting; did you mean MAX_ACTIVE_PER_USER?",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"hunter2"', "quotes"),
        ("'hunter2'", "quotes"),
        ("hunter2  # the key", "comment"),
        ("hunter2\r", "white space"),
        ("hunter2#'", None),
        ("", None),
    ],
)
def test_what_is_around_a_value_in_the_environment_is_reported(
    environment: pytest.MonkeyPatch, value: str, said: str | None
) -> None:
    environment.setenv("R2_ACCESS_KEY_ID", value)
    environment.setenv("PS1", "hunter2 ")
    Path(".env").write_text("AUTH_ISSUER='hunter2'  # a comment\r\n")
    sentences = find_unknown_settings()
    assert [said is not None and said in sentence for sentence in sentences] == [True] * (said is not None)
    assert "hunter2" not in str(sentences)


USERS = {**JWT, "AUTH_AUDIENCE": "framehook", "PUBLIC_URL": "https://a.example"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({**JWT}, ["AUTH_AUDIENCE", "PUBLIC_URL"], id="tokens for other services"),
        pytest.param(
            {"DATABASE_URL": "postgresql://db.example/x"}, ["CALLBACK_SECRET"], id="a secret for each replica"
        ),
        pytest.param({"AUTH_AUDIENCE": "me"}, ["AUTH_AUDIENCE"], id="an audience without tokens"),
        pytest.param({"OPERATORS": "ada"}, ["OPERATORS"], id="operators without users"),
        pytest.param({**USERS, "HOST": EVERYWHERE, "PUBLIC_URL": ""}, ["PUBLIC_URL"], id="no public address"),
        pytest.param({**USERS, "PUBLIC_URL": "http://a.example"}, ["PUBLIC_URL"], id="tokens in plain text"),
        pytest.param(
            {**USERS, "METRICS_TOKEN": SECRET}, ["AUTH_JWT_SECRET"], id="one secret for two purposes"
        ),
        pytest.param({"CALLBACK_SECRET": "ab" * 20}, ["CALLBACK_SECRET"], id="a secret that can be guessed"),
        pytest.param(
            {"AUTH_JWKS_URL": "http://keys.example", "AUTH_AUDIENCE": "me"},
            ["AUTH_JWKS_URL", "PUBLIC_URL"],
            id="open keys",
        ),
        pytest.param({"MAX_QUEUED_PER_USER": "2"}, ["MAX_ACTIVE_PER_USER"], id="more run than may wait"),
        pytest.param({"MAX_STREAMS": "20"}, ["MAX_STREAMS_PER_USER"], id="one user takes all streams"),
        pytest.param(
            {"MAX_COST_PER_DAY_USD": "5", "MAX_COST_PER_USER_DAY_USD": "6"},
            ["MAX_COST_PER_USER_DAY_USD"],
            id="one user takes the budget",
        ),
        pytest.param({**USERS}, [], id="nothing to say"),
        pytest.param({}, [], id="the defaults"),
    ],
)
def test_settings_that_an_operator_should_look_at_are_named(
    environment: pytest.MonkeyPatch, values: dict[str, str], named: list[str]
) -> None:
    sentences = list(find_warnings(load_with(environment, values)))
    assert [sentence.split()[0].strip(":") for sentence in sentences] == named
    assert SECRET not in "".join(sentences)


@pytest.mark.parametrize(
    ("file", "variables", "format_"),
    [
        ("LOG_FORMAT=json\nPORT=x\n", {}, "json"),
        ("LOG_FORMAT=text\nlog_format='json'\n", {}, "json"),
        ('LOG_FORMAT=json\nSECRET="never closed\n', {}, "json"),
        ("\ufeffLOG_FORMAT=json\n", {}, "json"),
        ("LOG_FORMAT=json\n", {"log_format": "text"}, "text"),
        ("LOG_FORMAT\n", {}, None),
        ("PORT=81\n", {}, None),
        (None, {}, None),
    ],
)
def test_the_format_of_the_log_is_found_where_other_settings_are_invalid(
    file: str | None, variables: dict[str, str], format_: str | None
) -> None:
    if file is not None:
        Path(".env").write_text(file)
    assert find_value("LOG_FORMAT", Path(".env"), variables) == format_


def test_errors_of_settings_are_json_if_env_alone_asks_for_it(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text("LOG_FORMAT=json\nPORT=x\n")
    for name in ("excepthook", "unraisablehook"):
        environment.setattr(sys, name, getattr(sys, name))
    environment.setattr(threading, "excepthook", threading.excepthook)
    environment.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(typer.Exit):
        load_settings_or_exit()
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"][:5]) == ("critical", "PORT:")
