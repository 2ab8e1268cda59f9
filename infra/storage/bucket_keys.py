"""Keys of objects in a bucket."""

import re

from infra.storage.object_names import object_name, user_folder

ATTEMPTS_PREFIX = ".attempts/"

# The keys of multipart uploads that the service creates: uploads, outputs of attempts, copies to default output keys.
_OWN_KEY = re.compile(r"\.attempts/|[^/]+/uploads/[0-9a-f]{32}/|[^/]+/exports/[0-9a-f-]{36}(\.[a-z0-9]+)*\Z")


def bucket_key(user_id: str, key: str) -> str:
    """Return `{user}/{key}`, or `.attempts/{user}/…` for what attempts write.

    Lifecycle rules select keys by their prefix, so one rule expires the files of all attempts. No user's folder begins
    with a dot.
    """
    name = object_name(user_id, key)
    if not key.startswith(ATTEMPTS_PREFIX):
        return name
    return f"{ATTEMPTS_PREFIX}{user_folder(user_id)}/{key.removeprefix(ATTEMPTS_PREFIX)}"


def user_prefixes(user_id: str) -> tuple[str, str]:
    """Return the prefixes that the keys of all objects of a user have."""
    folder = user_folder(user_id)
    return f"{folder}/", f"{ATTEMPTS_PREFIX}{folder}/"


def is_own_key(name: str) -> bool:
    """Tell whether the service makes keys like this one for multipart uploads; other programs may use the bucket."""
    return _OWN_KEY.match(name) is not None
