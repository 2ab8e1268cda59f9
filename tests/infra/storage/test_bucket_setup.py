"""Bucket setup creates and configures a bucket, and changes nothing that is already right."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.storage import StorageForbidden, StorageUnavailable
from infra.storage.bucket_keys import bucket_key
from infra.storage.bucket_setup import BucketConfig, SetupStep, set_up_bucket
from infra.storage.client import Bucket
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.anyio
CONFIG = BucketConfig(
    origins=["https://b.example", "https://a.example"], upload_days=30, users=["local", "a/b"]
)


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[Bucket]:
    bucket = Bucket(s3_server.client_config(), attempts=1)
    yield bucket
    await bucket.close()


async def run_setup(bucket: Bucket, config: BucketConfig = CONFIG) -> list[SetupStep]:
    return [step async for step in set_up_bucket(bucket, config)]


async def lifecycle_rules(bucket: Bucket) -> dict[str, Any]:
    rules = (await bucket.call("get_bucket_lifecycle_configuration"))["Rules"]
    return {rule["ID"]: rule for rule in rules}


async def test_a_bucket_is_created_configured_and_checked(bucket: Bucket) -> None:
    steps = await run_setup(bucket)
    assert [step.changed for step in steps] == [True, True, True, False]
    assert steps[0].sentence == f"Created the bucket {bucket.name}."
    (cors,) = (await bucket.call("get_bucket_cors"))["CORSRules"]
    assert cors["AllowedOrigins"] == ["https://a.example", "https://b.example"]
    assert set(cors["AllowedMethods"]) == {"GET", "HEAD", "PUT"}
    assert {"Content-Type", "Content-MD5", "Range"} <= set(cors["AllowedHeaders"])
    rules = await lifecycle_rules(bucket)
    assert rules["framehook-unfinished"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert rules["framehook-scratch"]["Filter"] == {"Prefix": ".attempts/"}
    assert rules["framehook-uploads-of-local"]["Filter"] == {"Prefix": "local/uploads/"}
    assert rules["framehook-uploads-of-a%2Fb"]["Filter"] == {"Prefix": "a%2Fb/uploads/"}
    assert await bucket.list_all("list_objects_v2", "Contents") == []


async def test_repeating_the_setup_changes_nothing(bucket: Bucket) -> None:
    await run_setup(bucket)
    assert not any(step.changed for step in await run_setup(bucket))


async def test_a_new_config_replaces_only_rules_of_framehook(bucket: Bucket) -> None:
    await bucket.create()
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "x/"},
        "Expiration": {"Days": 3},
    }
    await bucket.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [theirs]})
    page = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["GET"]}
    await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [page]})
    await run_setup(bucket)
    steps = await run_setup(bucket, BucketConfig(origins=["https://c.example"]))
    assert [step.changed for step in steps] == [False, True, True, False]
    assert set(await lifecycle_rules(bucket)) == {"theirs", "framehook-unfinished", "framehook-scratch"}
    origins = [rule["AllowedOrigins"] for rule in (await bucket.call("get_bucket_cors"))["CORSRules"]]
    assert origins == [["https://theirs.example"], ["https://c.example"]]


async def test_without_origins_the_cors_rules_stay_unchanged(bucket: Bucket) -> None:
    await run_setup(bucket)
    assert not (await run_setup(bucket, BucketConfig()))[1].changed
    assert (await bucket.call("get_bucket_cors"))["CORSRules"]


async def test_credentials_without_permission_are_reported(s3_server: S3Server, bucket: Bucket) -> None:
    s3_server.faults.forbidden = True
    with pytest.raises(StorageForbidden):
        await run_setup(bucket)


async def test_an_unavailable_storage_is_reported(s3_server: S3Server, bucket: Bucket) -> None:
    s3_server.faults.busy_responses = 100
    with pytest.raises(StorageUnavailable):
        await run_setup(bucket)


def test_attempt_keys_share_a_prefix_that_no_user_can_have() -> None:
    assert bucket_key("ann", ".attempts/1/output.mp4") == ".attempts/ann/1/output.mp4"
    assert bucket_key("ann", "exports/1.mp4") == "ann/exports/1.mp4"
    assert not bucket_key(".attempts", "ann/1/output.mp4").startswith(".")
