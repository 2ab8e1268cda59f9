"""S3 or a folder: one protocol, two implementations, one conformance suite."""

from infra.storage.base import (
    AlreadyStored,
    Damaged,
    DiskFull,
    MissingBucket,
    NoSuchUpload,
    Obstructed,
    OutsideStorage,
    Part,
    Signed,
    Storage,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
    Stored,
    WrongLength,
    part_bytes,
    part_sizes,
)
from infra.storage.content_disposition import attachment
from infra.storage.folder import FolderStorage

__all__ = [
    "AlreadyStored",
    "Damaged",
    "DiskFull",
    "FolderStorage",
    "MissingBucket",
    "NoSuchUpload",
    "Obstructed",
    "OutsideStorage",
    "Part",
    "Signed",
    "Storage",
    "StorageError",
    "StorageForbidden",
    "StorageUnavailable",
    "Stored",
    "WrongLength",
    "attachment",
    "part_bytes",
    "part_sizes",
]
