"""Settings of the storage: where files are, and how large and how old they may become."""

from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from service.settings.types import MAX_DAYS, BucketName, Default, SettingsGroup, Url


class StorageSettings(SettingsGroup):
    """Where files are, and how large and how old they may become."""

    heading: ClassVar = "Storage"

    r2_endpoint_url: Annotated[Url, Default("none: files are in `DATA_DIR`")] = None
    """the endpoint of an S3 or R2 bucket; all four `R2_…` or none"""
    r2_access_key_id: str | None = None
    """the id of the key"""
    r2_secret_access_key: SecretStr | None = None
    """the key's secret"""
    r2_bucket_name: BucketName = None
    """the name of the bucket"""
    max_upload_bytes: Annotated[int, Field(ge=1), Default("20 GiB")] = 20 * 2**30
    """largest source"""
    max_bytes_per_user: Annotated[int, Field(ge=0), Default("`0`: no limit")] = 0
    """bytes that one user's uploads, also those that are only announced, and outputs may take; more is refused with
    413 (`storage_quota_exceeded`)"""
    output_days: Annotated[float, Field(ge=0, le=MAX_DAYS), Default("`0`: kept")] = 0.0
    """days after its creation after which the file of an export is deleted; an export may ask for fewer
    (`expires_in_days`). It holds for exports that are created from then on"""
    upload_days: Annotated[float, Field(ge=0, le=MAX_DAYS), Default("`0`: kept")] = 0.0
    """days after which an upload is deleted, unless an active export reads it then"""
    max_output_bytes: Annotated[int, Field(ge=1), Default("100 GiB")] = 100 * 2**30
    """largest output; an export may write the greater of 16 GiB and 20 times its sources, up to this"""
