"""Storage of objects in a folder or an S3 bucket, behind one protocol."""

from infra.storage.base import (
    Download,
    FileDownload,
    Part,
    RedirectDownload,
    SignedUrl,
    Storage,
    StoredObject,
    part_bytes,
    part_sizes,
)
from infra.storage.content_disposition import attachment
from infra.storage.errors import (
    BucketNotFound,
    ChecksumMismatch,
    DiskFull,
    InvalidKey,
    NoSuchUpload,
    ObjectExists,
    PathConflict,
    SizeMismatch,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from infra.storage.folder import FolderStorage

__all__ = [
    "BucketNotFound",
    "ChecksumMismatch",
    "DiskFull",
    "Download",
    "FileDownload",
    "FolderStorage",
    "InvalidKey",
    "NoSuchUpload",
    "ObjectExists",
    "Part",
    "PathConflict",
    "RedirectDownload",
    "SignedUrl",
    "SizeMismatch",
    "Storage",
    "StorageError",
    "StorageForbidden",
    "StorageUnavailable",
    "StoredObject",
    "attachment",
    "part_bytes",
    "part_sizes",
]
