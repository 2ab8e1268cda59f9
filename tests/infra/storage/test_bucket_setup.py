"""A bucket is prepared from nothing, and left alone when it is as it should be."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.storage import StorageForbidden, StorageUnavailable
from infra.storage.bucket_setup import BucketConfig, SetupStep, set_up_bucket
from infra.storage.client import Bucket
from infra.storage.s3 import bucket_key
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


async def prepared(bucket: Bucket, config: BucketConfig = CONFIG) -> list[SetupStep]:
    return [done async for done in set_up_bucket(bucket, config)]


async def rules(bucket: Bucket) -> dict[str, Any]:
    found = (await bucket.call("get_bucket_lifecycle_configuration"))["Rules"]
    return {rule["ID"]: rule for rule in found}


async def test_a_bucket_is_made_opened_tidied_and_tried(bucket: Bucket) -> None:
    told = await prepared(bucket)
    assert [done.changed for done in told] == [True, True, True, False]
    assert told[0].sentence == f"Created the bucket {bucket.name}."
    (cors,) = (await bucket.call("get_bucket_cors"))["CORSRules"]
    assert cors["AllowedOrigins"] == ["https://a.example", "https://b.example"]
    assert set(cors["AllowedMethods"]) == {"GET", "HEAD", "PUT"}
    assert {"Content-Type", "Content-MD5", "Range"} <= set(cors["AllowedHeaders"])
    found = await rules(bucket)
    assert found["framehook-unfinished"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert found["framehook-scratch"]["Filter"] == {"Prefix": ".attempts/"}
    assert found["framehook-uploads-of-local"]["Filter"] == {"Prefix": "local/uploads/"}
    assert found["framehook-uploads-of-a%2Fb"]["Filter"] == {"Prefix": "a%2Fb/uploads/"}
    assert await bucket.list_all("list_objects_v2", "Contents") == []


async def test_doing_it_again_changes_nothing(bucket: Bucket) -> None:
    await prepared(bucket)
    assert not any(done.changed for done in await prepared(bucket))


async def test_new_wishes_replace_our_rules_and_no_others(bucket: Bucket) -> None:
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
    await prepared(bucket)
    told = await prepared(bucket, BucketConfig(origins=["https://c.example"]))
    assert [done.changed for done in told] == [False, True, True, False]
    assert set(await rules(bucket)) == {"theirs", "framehook-unfinished", "framehook-scratch"}
    origins = [rule["AllowedOrigins"] for rule in (await bucket.call("get_bucket_cors"))["CORSRules"]]
    assert origins == [["https://theirs.example"], ["https://c.example"]]


async def test_without_origins_the_pages_stay_as_they_are(bucket: Bucket) -> None:
    await prepared(bucket)
    assert not (await prepared(bucket, BucketConfig()))[1].changed
    assert (await bucket.call("get_bucket_cors"))["CORSRules"]


async def test_credentials_that_may_not_are_told_of(s3_server: S3Server, bucket: Bucket) -> None:
    s3_server.faults.forbidden = True
    with pytest.raises(StorageForbidden):
        await prepared(bucket)


async def test_a_storage_that_is_down_is_told_of(s3_server: S3Server, bucket: Bucket) -> None:
    s3_server.faults.busy_responses = 100
    with pytest.raises(StorageUnavailable):
        await prepared(bucket)


def test_scratch_of_all_users_begins_alike_and_collides_with_nobodys() -> None:
    assert bucket_key("ann", ".attempts/1/output.mp4") == ".attempts/ann/1/output.mp4"
    assert bucket_key("ann", "exports/1.mp4") == "ann/exports/1.mp4"
    assert not bucket_key(".attempts", "ann/1/output.mp4").startswith(".")
