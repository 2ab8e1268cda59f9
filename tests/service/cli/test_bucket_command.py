"""`framehook bucket prepare` reports each step and can be repeated."""

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from tests.support.s3_server import S3Server, run_s3_server


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with run_s3_server() as s3_server:
        yield s3_server


def prepare(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["bucket", "prepare", *words], env=environment)


def settings_for(s3_server: S3Server, **changes: str) -> dict[str, str]:
    place = s3_server.client_config()
    return {
        "R2_ENDPOINT_URL": place.endpoint_url,
        "R2_ACCESS_KEY_ID": place.access_key_id,
        "R2_SECRET_ACCESS_KEY": place.secret_access_key,
        "R2_BUCKET_NAME": place.bucket,
    } | changes


def test_each_step_is_reported_and_none_is_repeated(s3_server: S3Server) -> None:
    settings = settings_for(
        s3_server, PUBLIC_URL="https://video.example", ALLOWED_ORIGINS="https://app.example"
    )
    first = prepare("--upload-days", "30", **settings)
    assert first.exit_code == 0
    assert first.stdout.splitlines() == [
        f"Created the bucket {settings['R2_BUCKET_NAME']}.",
        "Changed the CORS rules: Pages of https://app.example, https://video.example may upload and play files.",
        (
            "Changed the lifecycle rules: "
            "Unfinished uploads are deleted after 2 days, files of attempts after 7 days, uploads after 30 days."
        ),
        "Wrote, read and deleted a test object.",
    ]
    again = prepare("--upload-days", "30", **settings)
    assert again.stdout.splitlines()[0] == f"The bucket {settings['R2_BUCKET_NAME']} exists."
    assert "Changed" not in again.stdout


def test_origins_on_the_command_line_replace_the_settings(s3_server: S3Server) -> None:
    settings = settings_for(s3_server, PUBLIC_URL="https://video.example")
    assert "Pages of https://a.example may" in prepare("--origin", "https://a.example", **settings).stdout


def test_a_folder_needs_no_preparation() -> None:
    result = prepare(R2_ENDPOINT_URL="", R2_ACCESS_KEY_ID="", R2_SECRET_ACCESS_KEY="", R2_BUCKET_NAME="")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == (
        "framehook: R2_BUCKET_NAME is not set, so files are kept in the data folder; "
        "set the four R2_… settings to use a bucket\n"
    )


def test_rejected_credentials_are_reported_without_secrets(s3_server: S3Server) -> None:
    settings = settings_for(s3_server, R2_SECRET_ACCESS_KEY="another secret than the storage has")
    result = prepare(**settings)
    assert result.exit_code == 1
    assert result.stderr.startswith("framehook: the storage rejects the credentials")
    assert "another secret" not in result.output
