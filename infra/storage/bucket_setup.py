"""Preparing a bucket: made if it is missing, opened to pages, rid of what is left behind, and tried out.

What it finds as it should be it leaves alone, and so it does with rules that are not its own: it may be run as often
as one likes.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.storage.base import StorageError
from infra.storage.client import Bucket, NotThere
from infra.storage.s3 import SCRATCH, bucket_key

SCRATCH_DAYS = 7
UNFINISHED_DAYS = 2
CORS_MAX_AGE_SECONDS = 3_600
MAX_RULES = 900  # S3 takes a thousand

_RULE = "framehook-"
_METHODS = ["GET", "HEAD", "PUT"]
# Named one by one: R2 takes `*` for the name of a header.
_SENT = ["Content-MD5", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Range"]
_EXPOSED = ["ETag", "Content-Length", "Content-Range", "Content-Disposition"]


class NotKept(StorageError):
    """The bucket does not give back what was written to it."""

    code = "storage_not_kept"


@dataclass(frozen=True)
class Done:
    """One thing seen to: a sentence for people, and whether anything was changed for it."""

    sentence: str
    changed: bool


@dataclass(frozen=True)
class Wishes:
    """What a bucket should be.

    `origins` are those of pages that upload to it and play from it. Uploads of the users named are removed
    `upload_days` after they came; None keeps them. Keys begin with the user, so each user needs a rule.
    """

    origins: Sequence[str] = ()
    upload_days: int | None = None
    users: Sequence[str] = ("local",)


async def prepare(bucket: Bucket, wishes: Wishes) -> AsyncIterator[Done]:
    """Prepare the bucket, telling each thing once it is done; raises StorageError at the first that can't be."""
    yield await _there(bucket)
    yield await _opened(bucket, wishes.origins)
    yield await _tidied(bucket, wishes)
    yield await _tried(bucket)


async def _there(bucket: Bucket) -> Done:
    try:
        await bucket.call("head_bucket")
    except NotThere:
        await bucket.create()
        return Done(f"The bucket {bucket.name} was made.", changed=True)
    return Done(f"The bucket {bucket.name} is there.", changed=False)


async def _opened(bucket: Bucket, origins: Sequence[str]) -> Done:
    if not origins:
        return Done("No origins were given: which pages may use the bucket stays as it is.", changed=False)
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
        return Done(f"Pages of {shown} may upload and play.", changed=False)
    kept = [rule for rule in found if rule.get("ExposeHeaders") != _EXPOSED]
    await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [*kept, ours]})
    return Done(f"Pages of {shown} may upload and play from now on.", changed=True)


async def _tidied(bucket: Bucket, wishes: Wishes) -> Done:
    found = await _rules(
        bucket, "get_bucket_lifecycle_configuration", "Rules", absent="NoSuchLifecycleConfiguration"
    )
    wanted = _lifecycle(wishes)
    others = [rule for rule in found if not rule.get("ID", "").startswith(_RULE)]
    ours = [rule for rule in found if rule.get("ID", "").startswith(_RULE)]
    sentence = f"Unfinished uploads are removed after {UNFINISHED_DAYS} days, scratch after {SCRATCH_DAYS}"
    if wishes.upload_days is not None:
        sentence += f", uploads after {wishes.upload_days}"
    if sorted(map(_essence, ours)) == sorted(map(_essence, wanted)):
        return Done(f"{sentence}.", changed=False)
    await bucket.call(
        "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*others, *wanted]}
    )
    return Done(f"{sentence}, from now on.", changed=True)


async def _tried(bucket: Bucket) -> Done:
    key, content = bucket_key("local", f"{SCRATCH}check-{uuid.uuid4().hex}"), uuid.uuid4().bytes
    await bucket.call("put_object", Key=key, Body=content)
    try:
        body = (await bucket.call("get_object", Key=key))["Body"]
        if await bucket.run(body.read) != content:
            raise NotKept("the bucket gave back something else than was written")
    finally:
        await bucket.call("delete_object", Key=key)
    return Done("An object was written, read and removed.", changed=False)


def _lifecycle(wishes: Wishes) -> list[dict[str, Any]]:
    rules = [
        {
            "ID": f"{_RULE}unfinished",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
        },
        _expiring("scratch", SCRATCH, SCRATCH_DAYS),
    ]
    if wishes.upload_days is not None:
        for user_id in list(wishes.users)[:MAX_RULES]:
            prefix = f"{bucket_key(user_id, 'uploads')}/"
            rules.append(_expiring(f"uploads-of-{prefix.partition('/')[0]}", prefix, wishes.upload_days))
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
        if isinstance(error, NotThere) or absent in str(error):
            return []
        raise
    found: list[dict[str, Any]] = answer.get(field, [])
    return found
