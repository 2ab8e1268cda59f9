"""Set up a bucket: create it, apply CORS and lifecycle rules, and check that it can be used.

May be repeated: settings that are already right and rules of other programs stay unchanged.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.storage.bucket_keys import ATTEMPTS_PREFIX, bucket_key
from infra.storage.client import Bucket, ObjectNotFound
from infra.storage.errors import StorageError

ATTEMPT_DAYS = 7
UNFINISHED_DAYS = 2
CORS_MAX_AGE_SECONDS = 3_600
MAX_RULES = 900  # S3 allows 1,000

_RULE_PREFIX = "framehook-"
_METHODS = ["GET", "HEAD", "PUT"]
# Listed one by one, because R2 takes `*` for the name of a header.
_REQUEST_HEADERS = [
    "Cache-Control", "Content-MD5", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
    "If-Unmodified-Since", "Range",
]  # fmt: skip
_EXPOSED_HEADERS = ["ETag", "Accept-Ranges", "Content-Length", "Content-Range", "Content-Disposition"]
# Earlier versions exposed these: their rule is replaced, since stores follow the first rule that matches.
_FORMER_EXPOSED_HEADERS = ["ETag", "Content-Length", "Content-Range", "Content-Disposition"]

Rule = dict[str, Any]


class ReadBackMismatch(StorageError):
    """The bucket returns other bytes than were written to it."""

    code = "storage_not_kept"


@dataclass(frozen=True)
class SetupStep:
    """A finished step of the setup: a sentence for the operator, and whether it changed the bucket."""

    sentence: str
    changed: bool


@dataclass(frozen=True)
class BucketConfig:
    """The desired settings of a bucket.

    `origins` are those of the pages that upload to it and play from it. Uploads of the given users are deleted after
    `upload_days`; None keeps them. Keys begin with the user, so each user needs a rule.
    """

    origins: Sequence[str] = ()
    upload_days: int | None = None
    users: Sequence[str] = ("local",)


async def set_up_bucket(bucket: Bucket, config: BucketConfig) -> AsyncIterator[SetupStep]:
    """Set up the bucket and yield each finished step; raises StorageError at the first that fails."""
    yield await _ensure_bucket(bucket)
    yield await _apply_cors(bucket, config.origins)
    yield await _apply_lifecycle(bucket, config)
    await try_bucket(bucket)
    yield SetupStep("Wrote, read and deleted a test object.", changed=False)


async def _ensure_bucket(bucket: Bucket) -> SetupStep:
    try:
        await bucket.call("head_bucket")
    except ObjectNotFound:
        await bucket.create()
        return SetupStep(f"Created the bucket {bucket.name}.", changed=True)
    return SetupStep(f"The bucket {bucket.name} exists.", changed=False)


async def _apply_cors(bucket: Bucket, origins: Sequence[str]) -> SetupStep:
    if not origins:
        return SetupStep("No origins given: the CORS rules were not changed.", changed=False)
    rules = await _read_rules(bucket, "get_bucket_cors", "CORSRules", missing="NoSuchCORSConfiguration")
    desired = {
        "AllowedOrigins": sorted(origins),
        "AllowedMethods": _METHODS,
        "AllowedHeaders": _REQUEST_HEADERS,
        "ExposeHeaders": _EXPOSED_HEADERS,
        "MaxAgeSeconds": CORS_MAX_AGE_SECONDS,
    }
    sentence = f"Pages of {', '.join(sorted(origins))} may upload and play files."
    if any(_is_same_cors(rule, desired) for rule in rules):
        return SetupStep(sentence, changed=False)
    others = [rule for rule in rules if not _is_own_cors(rule)]
    await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [*others, desired]})
    return SetupStep(f"Changed the CORS rules: {sentence}", changed=True)


async def _apply_lifecycle(bucket: Bucket, config: BucketConfig) -> SetupStep:
    rules = await _read_rules(
        bucket, "get_bucket_lifecycle_configuration", "Rules", missing="NoSuchLifecycleConfiguration"
    )
    desired = _lifecycle_rules(config)
    others = [rule for rule in rules if not rule.get("ID", "").startswith(_RULE_PREFIX)]
    current = [rule for rule in rules if rule.get("ID", "").startswith(_RULE_PREFIX)]
    sentence = _lifecycle_sentence(config)
    if sorted(map(_normalize_rule, current)) == sorted(map(_normalize_rule, desired)):
        return SetupStep(sentence, changed=False)
    await bucket.call(
        "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*others, *desired]}
    )
    return SetupStep(f"Changed the lifecycle rules: {sentence}", changed=True)


async def try_bucket(bucket: Bucket) -> str:
    """Write a test object, read it whole and in part, and delete it; return the `Date` of the storage.

    Raises StorageError, ReadBackMismatch if the bucket returns other bytes.
    """
    key, content = bucket_key("local", f"{ATTEMPTS_PREFIX}check-{uuid.uuid4().hex}"), uuid.uuid4().bytes
    await bucket.call("put_object", Key=key, Body=content)
    try:
        for wanted, arguments in ((content, {}), (content[4:8], {"Range": "bytes=4-7"})):
            response = await bucket.call("get_object", Key=key, **arguments)
            if await bucket.run(response["Body"].read) != wanted:
                raise ReadBackMismatch("the bucket returned other bytes than were written to it")
        return str(response["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    finally:
        await bucket.call("delete_object", Key=key)


async def list_missing_rules(bucket: Bucket, origins: Sequence[str]) -> list[str]:
    """Return a sentence for each rule that the bucket lacks; rules of other programs count as well."""
    cors = await _read_rules(bucket, "get_bucket_cors", "CORSRules", missing="NoSuchCORSConfiguration")
    lifecycle = await _read_rules(
        bucket, "get_bucket_lifecycle_configuration", "Rules", missing="NoSuchLifecycleConfiguration"
    )
    missing = [
        f"pages of {origin} may not upload to the bucket and play from it"
        for origin in origins
        if not any(_allows_pages(rule, origin) for rule in cors)
    ]
    enabled = [rule for rule in lifecycle if rule.get("Status") == "Enabled"]
    if not any("AbortIncompleteMultipartUpload" in rule for rule in enabled):
        missing.append("no rule deletes the parts of unfinished uploads")
    if not any("Expiration" in rule and _prefix_of(rule) == ATTEMPTS_PREFIX for rule in enabled):
        missing.append("no rule deletes what attempts have left")
    return missing


def _allows_pages(rule: Rule, origin: str) -> bool:
    origins, methods = rule.get("AllowedOrigins", []), set(rule.get("AllowedMethods", []))
    exposes = {header.lower() for header in rule.get("ExposeHeaders", [])}
    return (origin in origins or "*" in origins) and {"GET", "PUT"} <= methods and "etag" in exposes


def _prefix_of(rule: Rule) -> str:
    return str(rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")))


def _lifecycle_sentence(config: BucketConfig) -> str:
    limits = [f"Unfinished uploads are deleted after {UNFINISHED_DAYS} days"]
    limits.append(f"files of attempts after {ATTEMPT_DAYS} days")
    if config.upload_days is not None:
        limits.append(f"uploads after {config.upload_days} days")
    return f"{', '.join(limits)}."


def _lifecycle_rules(config: BucketConfig) -> list[Rule]:
    rules = [
        {
            "ID": f"{_RULE_PREFIX}unfinished",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
        },
        _expiration_rule("scratch", ATTEMPTS_PREFIX, ATTEMPT_DAYS),
    ]
    if config.upload_days is not None:
        for user_id in list(config.users)[:MAX_RULES]:
            prefix = f"{bucket_key(user_id, 'uploads')}/"
            name = f"uploads-of-{prefix.partition('/')[0]}"
            rules.append(_expiration_rule(name, prefix, config.upload_days))
    return rules


def _expiration_rule(name: str, prefix: str, days: int) -> Rule:
    return {
        "ID": f"{_RULE_PREFIX}{name}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
    }


def _normalize_rule(rule: Rule) -> tuple[str, ...]:
    """Return the fields of a lifecycle rule that matter; stores add and reorder others."""
    unfinished = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", "")
    expiry = rule.get("Expiration", {}).get("Days", "")
    return tuple(map(str, (rule.get("ID"), rule.get("Status"), _prefix_of(rule), unfinished, expiry)))


def _is_own_cors(rule: Rule) -> bool:
    """Tell whether a rule is one that this setup writes: rules of CORS have no id in every store."""
    exposed = _sort_lists(rule.get("ExposeHeaders"))
    return exposed in (_sort_lists(_EXPOSED_HEADERS), _sort_lists(_FORMER_EXPOSED_HEADERS))


def _is_same_cors(rule: Rule, desired: Rule) -> bool:
    return all(_sort_lists(rule.get(name)) == _sort_lists(value) for name, value in desired.items())


def _sort_lists(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


async def _read_rules(bucket: Bucket, operation: str, field: str, *, missing: str) -> list[Rule]:
    """Return the rules of a bucket; stores respond with the error `missing` if there are none."""
    try:
        response = await bucket.call(operation)
    except StorageError as error:
        if isinstance(error, ObjectNotFound) or missing in str(error):
            return []
        raise
    rules: list[Rule] = response.get(field, [])
    return rules
