"""Preparing a bucket: made if it is missing, opened to pages, rid of what is left behind, and tried out.

What it finds as it should be it leaves alone, and so it does with rules that are not its own: it may be run as often
as one likes.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.storage.base import StorageError
from infra.storage.client import Bucket, ObjectNotFound
from infra.storage.s3 import ATTEMPTS_PREFIX, bucket_key

ATTEMPT_DAYS = 7
UNFINISHED_DAYS = 2
CORS_MAX_AGE_SECONDS = 3_600
MAX_RULES = 900  # S3 takes a thousand

_RULE = "framehook-"
_METHODS = ["GET", "HEAD", "PUT"]
# Named one by one: R2 takes `*` for the name of a header.
_SENT = ["Content-MD5", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Range"]
_EXPOSED = ["ETag", "Content-Length", "Content-Range", "Content-Disposition"]


class ReadBackMismatch(StorageError):
    """The bucket does not give back what was written to it."""

    code = "storage_not_kept"


@dataclass(frozen=True)
class SetupStep:
    """One thing seen to: a sentence for people, and whether anything was changed for it."""

    sentence: str
    changed: bool


@dataclass(frozen=True)
class BucketConfig:
    """What a bucket should be.

    `origins` are those of pages that upload to it and play from it. Uploads of the users named are removed
    `upload_days` after they came; None keeps them. Keys begin with the user, so each user needs a rule.
    """

    origins: Sequence[str] = ()
    upload_days: int | None = None
    users: Sequence[str] = ("local",)


async def set_up_bucket(bucket: Bucket, config: BucketConfig) -> AsyncIterator[SetupStep]:
    """Prepare the bucket, telling each thing once it is done; raises StorageError at the first that can't be."""
    yield await _there(bucket)
    yield await _opened(bucket, config.origins)
    yield await _tidied(bucket, config)
    yield await _tried(bucket)


async def _there(bucket: Bucket) -> SetupStep:
    try:
        await bucket.call("head_bucket")
    except ObjectNotFound:
        await bucket.create()
        return SetupStep(f"The bucket {bucket.name} was made.", changed=True)
    return SetupStep(f"The bucket {bucket.name} is there.", changed=False)


async def _opened(bucket: Bucket, origins: Sequence[str]) -> SetupStep:
    if not origins:
        return SetupStep(
            "No origins were given: which pages may use the bucket stays as it is.", changed=False
        )
    found = await _rules(bucket, "get_bucket_cors", "CORSRules", absent="NoSuchCORSConfiguration")
    ours = {
        "AllowedOrigins": sorted(origins),
        "AllowedMethods": _METHODS,
        "AllowedHeaders": _SENT,
        "ExposeHeaders": _EXPOSED,
        "MaxAgeSeconds": CORS_MAX_AGE_SECONDS,
    }
    shown = ", ".join(sorted(origins))
    if any(_same_cors(rule, ours) for rule in found):
        return SetupStep(f"Pages of {shown} may upload and play.", changed=False)
    kept = [rule for rule in found if rule.get("ExposeHeaders") != _EXPOSED]
    await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [*kept, ours]})
    return SetupStep(f"Pages of {shown} may upload and play from now on.", changed=True)


async def _tidied(bucket: Bucket, config: BucketConfig) -> SetupStep:
    found = await _rules(
        bucket, "get_bucket_lifecycle_configuration", "Rules", absent="NoSuchLifecycleConfiguration"
    )
    wanted = _lifecycle(config)
    others = [rule for rule in found if not rule.get("ID", "").startswith(_RULE)]
    ours = [rule for rule in found if rule.get("ID", "").startswith(_RULE)]
    sentence = f"Unfinished uploads are removed after {UNFINISHED_DAYS} days, scratch after {ATTEMPT_DAYS}"
    if config.upload_days is not None:
        sentence += f", uploads after {config.upload_days}"
    if sorted(map(_essence, ours)) == sorted(map(_essence, wanted)):
        return SetupStep(f"{sentence}.", changed=False)
    await bucket.call(
        "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*others, *wanted]}
    )
    return SetupStep(f"{sentence}, from now on.", changed=True)


async def _tried(bucket: Bucket) -> SetupStep:
    key, content = bucket_key("local", f"{ATTEMPTS_PREFIX}check-{uuid.uuid4().hex}"), uuid.uuid4().bytes
    await bucket.call("put_object", Key=key, Body=content)
    try:
        body = (await bucket.call("get_object", Key=key))["Body"]
        if await bucket.run(body.read) != content:
            raise ReadBackMismatch("the bucket gave back something else than was written")
    finally:
        await bucket.call("delete_object", Key=key)
    return SetupStep("An object was written, read and removed.", changed=False)


def _lifecycle(config: BucketConfig) -> list[dict[str, Any]]:
    rules = [
        {
            "ID": f"{_RULE}unfinished",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
        },
        _expiring("scratch", ATTEMPTS_PREFIX, ATTEMPT_DAYS),
    ]
    if config.upload_days is not None:
        for user_id in list(config.users)[:MAX_RULES]:
            prefix = f"{bucket_key(user_id, 'uploads')}/"
            rules.append(_expiring(f"uploads-of-{prefix.partition('/')[0]}", prefix, config.upload_days))
    return rules


def _expiring(name: str, prefix: str, days: int) -> dict[str, Any]:
    return {
        "ID": f"{_RULE}{name}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
    }


def _essence(rule: dict[str, Any]) -> tuple[str, ...]:
    """What matters of a lifecycle rule; stores add and reorder the rest."""
    prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
    unfinished = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", "")
    expiry = rule.get("Expiration", {}).get("Days", "")
    return tuple(map(str, (rule.get("ID"), rule.get("Status"), prefix, unfinished, expiry)))


def _same_cors(rule: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(_sorted(rule.get(name)) == _sorted(value) for name, value in wanted.items())


def _sorted(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


async def _rules(bucket: Bucket, operation: str, field: str, *, absent: str) -> list[dict[str, Any]]:
    """The rules that are there; stores answer with an error where there are none."""
    try:
        answer = await bucket.call(operation)
    except StorageError as error:
        if isinstance(error, ObjectNotFound) or absent in str(error):
            return []
        raise
    found: list[dict[str, Any]] = answer.get(field, [])
    return found
