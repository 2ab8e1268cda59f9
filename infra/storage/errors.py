"""The errors of a storage."""

from typing import ClassVar


class InvalidKey(Exception):
    """The key leads out of the user's folder, or cannot be a name at all."""


class PathConflict(Exception):
    """A folder exists where the object belongs, or an object where its folder belongs."""


class SizeMismatch(Exception):
    """A body, or the parts of an upload, do not have the agreed size."""


class ChecksumMismatch(Exception):
    """The received bytes do not have the checksum that the sender stated."""


class NoSuchUpload(Exception):
    """The multipart upload is unknown, complete or aborted."""


class ObjectExists(Exception):
    """Another object is stored under the key."""


class StorageError(Exception):
    """The storage cannot do its work; the message contains neither keys nor URLs."""

    code: ClassVar[str] = "storage_failed"


class StorageUnavailable(StorageError):
    """The storage is overloaded or unreachable after several tries; it may recover."""

    code = "storage_unavailable"


class StorageForbidden(StorageError):
    """The storage rejects the credentials, or they do not permit the operation."""

    code = "storage_forbidden"


class BucketNotFound(StorageError):
    """The bucket does not exist."""

    code = "bucket_missing"


class DiskFull(StorageError):
    """The disk has too little space that is not reserved for other files."""

    code = "disk_full"
