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
from infra.storage.presentation import Disposition, Presentation

__all__ = [
    "BucketNotFound",
    "ChecksumMismatch",
    "DiskFull",
    "Disposition",
    "Download",
    "FileDownload",
    "FolderStorage",
    "InvalidKey",
    "NoSuchUpload",
    "ObjectExists",
    "Part",
    "PathConflict",
    "Presentation",
    "RedirectDownload",
    "SignedUrl",
    "SizeMismatch",
    "Storage",
    "StorageError",
    "StorageForbidden",
    "StorageUnavailable",
    "StoredObject",
    "part_bytes",
    "part_sizes",
]
