"""Each invalid setting stops the start with a sentence that names it and quotes no secret."""

from pathlib import Path

import pytest

from service.composition.factories import create_runner
from service.dispatch.runners.reach import find_doubtful_address, find_unreachable_address
from service.settings import (
    BadSettings,
    Settings,
    inspect_settings,
    load_settings,
)
from service.workers.starter import WorkerStarter

pytestmark = pytest.mark.usefixtures("environment")

SECRET = "a-secret-that-must-never-appear-in-a-log"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - rejected without authentication
JWT = {"AUTH_JWT_SECRET": SECRET}
R2 = {
    "R2_ENDPOINT_URL": "https://r2.example",
    "R2_ACCESS_KEY_ID": "id",
    "R2_SECRET_ACCESS_KEY": SECRET,
    "R2_BUCKET_NAME": "videos",
}


def load_with(environment: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name, value in values.items():
        environment.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"PORT": "many"}, "PORT", id="a port that is not a number"),
        pytest.param({"PORT": "65536"}, "PORT", id="a port that is too large"),
        pytest.param({"PORT": "0"}, "PORT", id="any free port, which no run could find"),
        pytest.param({"DATABASE_URL": "sqlite:///x.db"}, "DATABASE_URL", id="a synchronous driver"),
        pytest.param({"PORT": "-1"}, "PORT", id="a negative port"),
        pytest.param({"LOG_FORMAT": "xml"}, "LOG_FORMAT", id="a format that does not exist"),
        pytest.param({"MODAL_ENABLED": "perhaps"}, "MODAL_ENABLED", id="neither yes nor no"),
        pytest.param({"MAX_ACTIVE_PER_USER": "0"}, "MAX_ACTIVE_PER_USER", id="no active export"),
        pytest.param({"MAX_QUEUED_PER_USER": "0"}, "MAX_QUEUED_PER_USER", id="no queued export"),
        pytest.param({"LOCAL_WORKERS": "0"}, "LOCAL_WORKERS", id="no worker"),
        pytest.param({"MAX_UPLOAD_BYTES": "1.5"}, "MAX_UPLOAD_BYTES", id="a fraction of a byte"),
        pytest.param({"ATTEMPT_LIMIT": "0"}, "ATTEMPT_LIMIT", id="no attempt"),
        pytest.param({"ATTEMPT_DEADLINE_SECONDS": "nan"}, "ATTEMPT_DEADLINE_SECONDS", id="no time"),
        pytest.param({"SILENCE_SECONDS": "inf"}, "SILENCE_SECONDS", id="an infinite time"),
        pytest.param({"CALLBACK_SECRET": "short"}, "CALLBACK_SECRET", id="a short callback secret"),
        pytest.param({"CALLBACK_SECRET": f"{SECRET},x"}, "CALLBACK_SECRET", id="a short older secret"),
        pytest.param({"AUTH_JWT_SECRET": "short"}, "AUTH_JWT_SECRET", id="a short token secret"),
        pytest.param({"AUTH_JWT_SECRET": ""}, "AUTH_JWT_SECRET", id="an empty token secret"),
        pytest.param(
            {**JWT, "AUTH_JWKS_URL": "https://a.example"}, "AUTH_JWKS_URL", id="two ways to authenticate"
        ),
        pytest.param({"AUTH_JWKS_URL": "nowhere"}, "AUTH_JWKS_URL", id="an invalid URL of keys"),
        pytest.param({"AUTH_JWKS_URL": "file:///etc/passwd"}, "AUTH_JWKS_URL", id="keys in a file"),
        pytest.param({"HOST": EVERYWHERE}, "HOST", id="all addresses without authentication"),
        pytest.param({"HOST": "::"}, "HOST", id="all IPv6 addresses without authentication"),
        pytest.param({"HOST": "192.168.0.7"}, "HOST", id="the local network without authentication"),
        pytest.param({"HOST": "example.org"}, "HOST", id="a host name without authentication"),
        pytest.param({"HOST": ""}, "HOST", id="an empty host"),
        pytest.param({**R2, "R2_BUCKET_NAME": ""}, "R2_BUCKET_NAME", id="a storage without a bucket"),
        pytest.param({**R2, "R2_BUCKET_NAME": "videos/in"}, "R2_BUCKET_NAME", id="a folder in a bucket"),
        pytest.param({"R2_SECRET_ACCESS_KEY": SECRET}, "R2_ENDPOINT_URL", id="a storage without an endpoint"),
        pytest.param(
            {"MODAL_ENABLED": "1", "PUBLIC_URL": "https://a.example"},
            "CALLBACK_SECRET",
            id="Modal without a secret",
        ),
        pytest.param(
            {"MODAL_ENABLED": "1", "CALLBACK_SECRET": SECRET}, "PUBLIC_URL", id="Modal without an address"
        ),
        pytest.param({"PUBLIC_URL": "example.org"}, "PUBLIC_URL", id="an address without a scheme"),
        pytest.param({"PUBLIC_URL": "ftp://example.org"}, "PUBLIC_URL", id="an address of another kind"),
        pytest.param({"PUBLIC_URL": "https://"}, "PUBLIC_URL", id="an address without a host"),
        pytest.param(
            {"PUBLIC_URL": "https://a.example:port"}, "PUBLIC_URL", id="a port that is not a number"
        ),
        pytest.param({"PUBLIC_URL": "https://[::1"}, "PUBLIC_URL", id="an incomplete IPv6 address"),
        pytest.param({"PUBLIC_URL": "https://a.example/?x=1"}, "PUBLIC_URL", id="an address with a query"),
        pytest.param({"ALLOWED_ORIGINS": "example.com"}, "ALLOWED_ORIGINS", id="an origin without a scheme"),
        pytest.param(
            {"ALLOWED_ORIGINS": "https://a.example/"}, "ALLOWED_ORIGINS", id="an origin with a slash"
        ),
        pytest.param(
            {"ALLOWED_ORIGINS": "https://a.example/app"}, "ALLOWED_ORIGINS", id="an origin with a path"
        ),
        pytest.param(
            {"ALLOWED_ORIGINS": "https://u:p@a.example"}, "ALLOWED_ORIGINS", id="an origin with a user"
        ),
        pytest.param({"ALLOWED_ORIGINS": "https://a.example,b"}, "ALLOWED_ORIGINS", id="a second origin"),
        pytest.param(
            {"ALLOWED_ORIGINS": "ws://a.example"}, "ALLOWED_ORIGINS", id="an origin that is not a web page"
        ),
        pytest.param({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS", id="every page without authentication"),
        pytest.param({"CALLBACK_URL": "proxy:80"}, "CALLBACK_URL", id="an invalid URL of callbacks"),
        pytest.param({"METRICS_TOKEN": "short"}, "METRICS_TOKEN", id="a short token of the metrics"),
        pytest.param({"METRICS_PORT": "0"}, "METRICS_PORT", id="no port of the metrics"),
        pytest.param({"OUTPUT_DAYS": "36601"}, "OUTPUT_DAYS", id="files until a year that can't be shown"),
        pytest.param({"UPLOAD_DAYS": "inf"}, "UPLOAD_DAYS", id="sources for ever"),
        pytest.param({"TIMELINE_DAYS": "1e308"}, "TIMELINE_DAYS", id="timelines for ever"),
        pytest.param({"MAX_COST_PER_DAY_USD": "inf"}, "MAX_COST_PER_DAY_USD", id="an infinite budget"),
        pytest.param({"DATA_DIR": "/\udcff"}, "DATA_DIR", id="a folder that is not UTF-8"),
        pytest.param({"WEBHOOK_ALLOWED_NETWORKS": "\udcff"}, "WEBHOOK_ALLOWED", id="a network of bytes"),
        pytest.param({"LOG_USERS": "some"}, "LOG_USERS", id="an unknown way to name users"),
        pytest.param({"LEASE_SECONDS": "0"}, "LEASE_SECONDS", id="a lease of zero seconds"),
        pytest.param({"DATABASE_URL": "mysql://root@db/x"}, "DATABASE_URL", id="another database"),
        pytest.param({"DATABASE_URL": "here"}, "DATABASE_URL", id="a database that is not a URL"),
        pytest.param({"DATABASE_URL": "sqlite://"}, "DATABASE_URL", id="a database in memory"),
        pytest.param({"PUBLIC_URL": f"http://{EVERYWHERE}:80"}, "PUBLIC_URL", id="an address of no machine"),
        pytest.param({"CALLBACK_URL": "http://[::]"}, "CALLBACK_URL", id="an IPv6 address of no machine"),
        pytest.param({"PUBLIC_URL": f"https://u:{SECRET}@a.example"}, "PUBLIC_URL", id="a password for all"),
        pytest.param({"PORT": "81", "METRICS_PORT": "81"}, "METRICS_PORT", id="one port for two servers"),
        pytest.param(
            {**R2, "R2_ENDPOINT_URL": "https://r2.example/videos"}, "R2_ENDPOINT_URL", id="a bucket twice"
        ),
        pytest.param({"WEBHOOK_ALLOWED_NETWORKS": "intern"}, "WEBHOOK_ALLOWED_NETWORKS", id="no network"),
        pytest.param(
            {"WEBHOOK_ALLOWED_NETWORKS": "10.1.0.1/16"}, "WEBHOOK_ALLOWED_NETWORKS", id="a host as a network"
        ),
    ],
)
def test_an_invalid_setting_is_named(
    environment: pytest.MonkeyPatch, values: dict[str, str], named: str
) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, values)
    sentences = str(bad.value).splitlines()
    assert any(named in sentence for sentence in sentences)
    assert SECRET not in str(bad.value)
    assert not any(value in str(bad.value) for name, value in values.items() if "SECRET" in name and value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"PORT": "x"}, "PORT: must be a valid integer"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT: must be 'text' or 'json'"),
        ({"LEASE_SECONDS": "0"}, "LEASE_SECONDS: must be greater than 0"),
        ({"AUTH_JWT_SECRET": "x"}, "AUTH_JWT_SECRET: must have at least 32 bytes"),
        (
            {"WEBHOOK_ALLOWED_NETWORKS": "10.1.0.1/16"},
            "WEBHOOK_ALLOWED_NETWORKS: 10.1.0.1/16 has bits of a host set; the network is 10.1.0.0/16",
        ),
        ({"PUBLIC_URL": "x"}, "PUBLIC_URL: must be an http or https URL, such as https://example.org"),
    ],
)
def test_a_sentence_says_what_a_setting_must_be(
    environment: pytest.MonkeyPatch, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, values)
    assert str(bad.value) == sentence


def test_several_invalid_settings_are_named_together(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, {"PORT": "x", "LOG_FORMAT": "y"})
    assert [sentence.partition(":")[0] for sentence in str(bad.value).splitlines()] == ["PORT", "LOG_FORMAT"]


def test_what_does_not_fit_together_is_named_beside_invalid_values(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, {"PORT": "x", "R2_BUCKET_NAME": "videos", "MODAL_TOKEN_ID": "ak-1"})
    assert [sentence.split()[0].strip(":") for sentence in str(bad.value).splitlines()] == [
        *("PORT", "R2_ENDPOINT_URL,", "MODAL_TOKEN_ID")
    ]


def test_an_invalid_value_is_not_reported_as_a_missing_one_too(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, {"AUTH_JWT_SECRET": "short", "HOST": EVERYWHERE})
    assert str(bad.value) == "AUTH_JWT_SECRET: must have at least 32 bytes"


def test_an_inspection_has_the_valid_settings(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "x")
    environment.setenv("DATA_DIR", "elsewhere")
    inspection = inspect_settings()
    assert inspection.settings is not None
    assert (inspection.settings.port, inspection.settings.data_dir) == (8000, Path("elsewhere"))
    assert inspection.invalid == {"PORT"}


def test_the_password_of_a_database_is_not_quoted(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings) as bad:
        load_with(environment, {"DATABASE_URL": f"mysql://root:{SECRET}@db/x"})
    assert SECRET not in str(bad.value)


def test_secrets_do_not_appear_in_representations(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment, {"CALLBACK_SECRET": SECRET, **JWT, **R2})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


def test_the_defaults_are_a_single_user_on_this_machine(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.authenticated) == ("127.0.0.1", 8000, False)
    assert settings.origin == settings.callback_origin == "http://127.0.0.1:8000"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_authentication_the_service_listens_on_this_machine(
    environment: pytest.MonkeyPatch, host: str
) -> None:
    assert load_with(environment, {"HOST": host}).host == host


@pytest.mark.parametrize(
    ("values", "origin", "callbacks"),
    [
        ({"HOST": "::1", "PORT": "81"}, "http://[::1]:81", "http://[::1]:81"),
        ({"HOST": EVERYWHERE, **JWT}, "http://0.0.0.0:8000", "http://127.0.0.1:8000"),
        ({"HOST": "::", **JWT}, "http://[::]:8000", "http://[::1]:8000"),
        ({"HOST": "localhost"}, "http://localhost:8000", "http://127.0.0.1:8000"),
        ({"PUBLIC_URL": "https://a.example/video/"}, "https://a.example/video", "http://127.0.0.1:8000"),
        ({"CALLBACK_URL": "http://proxy:80/"}, "http://127.0.0.1:8000", "http://proxy:80"),
        (
            {"PUBLIC_URL": "https://a.example/", "MODAL_ENABLED": "true", "CALLBACK_SECRET": SECRET},
            "https://a.example",
            "https://a.example",
        ),
    ],
)
def test_runs_post_callbacks_to_a_url_that_they_can_reach(
    environment: pytest.MonkeyPatch, values: dict[str, str], origin: str, callbacks: str
) -> None:
    settings = load_with(environment, values)
    assert (settings.origin, settings.callback_origin) == (origin, callbacks)


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    values = {
        "CALLBACK_SECRET": f" {SECRET}1 ,{SECRET}2,",
        "ALLOWED_ORIGINS": "https://a.example, https://b.example",
    }
    settings = load_with(environment, values)
    assert [secret.get_secret_value() for secret in settings.callback_secret] == [f"{SECRET}1", f"{SECRET}2"]
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_origins_are_normalized_to_the_form_that_browsers_send(environment: pytest.MonkeyPatch) -> None:
    assert load_with(environment, {"ALLOWED_ORIGINS": "*", **JWT}).allowed_origins == ("*",)
    written = {"ALLOWED_ORIGINS": "https://A.Example:443, http://[::1]:3000, http://b.example:80"}
    expected = ("https://a.example", "http://[::1]:3000", "http://b.example")
    assert load_with(environment, written).allowed_origins == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PORT=81\nCALLBACK_SECRET=h\xffnter2\n", ".env: byte 26 is not UTF-8"),
        (b"PORT=81\n\n  hunter2 is 'mine\nHOST=::1\n", ".env: line 3 is invalid"),
        (b"PORT=81\nhunter2\n", ".env: line 2 is invalid"),
        ("\ufeffPORT=81\n".encode(), ".env: it begins with a byte order mark"),
    ],
    ids=["not UTF-8", "an open quote", "no value", "a byte order mark"],
)
def test_an_invalid_file_is_reported_by_its_line(
    environment: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(BadSettings) as bad:
        load_settings()
    assert str(bad.value).startswith(said)
    assert "hunter2" not in str(bad.value)


def test_a_folder_named_like_the_file_is_reported(environment: pytest.MonkeyPatch) -> None:
    Path(".env").mkdir()
    with pytest.raises(BadSettings, match=r"\.env: it can't be read"):
        load_settings()


def test_the_environment_overrides_the_file(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=81\nHOST=127.0.0.2\nSOMETHING_ELSE=1\n")
    settings = load_with(environment, {"PORT": "82"})
    assert (settings.host, settings.port) == ("127.0.0.2", 82)


def test_arguments_override_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "82")
    assert load_settings(port=83, host=None).port == 83


@pytest.mark.parametrize(
    ("url", "is_unreachable", "is_doubtful"),
    [
        ("http://127.0.0.1:8000", True, True),
        ("http://localhost", True, True),
        ("http://a.localhost:8080", True, False),
        ("http://[::1]", True, True),
        ("http://10.0.0.3", False, True),
        ("http://[fd00::1]:80", False, True),
        ("http://service:8000", False, True),
        ("https://video.internal", False, True),
        ("https://1.1.1.1", False, False),
        ("https://video.example.com", False, False),
    ],
)
def test_an_address_that_functions_do_not_reach_is_known_by_its_name(
    environment: pytest.MonkeyPatch, url: str, is_unreachable: bool, is_doubtful: bool
) -> None:
    settings = load_with(environment, {"MODAL_ENABLED": "1", "PUBLIC_URL": url, "CALLBACK_SECRET": SECRET})
    assert (find_unreachable_address(settings) is not None) is is_unreachable
    if not is_unreachable:
        assert (find_doubtful_address(settings) is not None) is is_doubtful


def test_modal_is_not_given_an_address_of_this_machine(environment: pytest.MonkeyPatch) -> None:
    values = {"MODAL_ENABLED": "1", "CALLBACK_SECRET": SECRET, "PUBLIC_URL": "https://a.example"}
    settings = load_with(environment, {**values, "CALLBACK_URL": "http://localhost:8000"})
    environment.setenv("MODAL_SERVER_URL", "https://api.modal.com")
    with pytest.raises(
        BadSettings, match=r"CALLBACK_URL: http://localhost:8000 is the function's own machine"
    ):
        create_runner(settings, WorkerStarter())
    environment.setenv("MODAL_SERVER_URL", "http://127.0.0.1:1")
    assert create_runner(settings, WorkerStarter()).name == "modal"
