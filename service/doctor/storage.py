"""The storage: can it be reached, and does it do what pages and runs need?"""

from typing import TYPE_CHECKING

from infra.storage import BucketNotFound, StorageError, StorageUnavailable
from service.startup.findings import Finding, fail, ok

if TYPE_CHECKING:
    from infra.storage.client import S3Config


async def check_bucket_access(config: "S3Config") -> Finding:
    """Check that the bucket exists and takes the key, with a single request."""
    from infra.storage.client import Bucket, ObjectNotFound  # importing boto3 takes half a second

    bucket = Bucket(config, attempts=1, threads=1)
    try:
        await bucket.call("head_bucket")
    except (BucketNotFound, ObjectNotFound):
        return fail(
            "storage", f"R2_BUCKET_NAME: there is no bucket {bucket.name}; run framehook bucket prepare"
        )
    except StorageUnavailable as error:
        return fail("storage", f"R2_ENDPOINT_URL: {error}; check the URL and the network", is_temporary=True)
    except StorageError as error:
        return fail(
            "storage", f"R2_ACCESS_KEY_ID: {error}; check key, secret, and the permissions of the key"
        )
    finally:
        await bucket.close()
    return ok("storage", f"the bucket {bucket.name} can be reached")
