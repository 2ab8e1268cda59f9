"""Mounted files, secrets and images of deployments; images are recorded and never built."""

import hashlib
import shlex
import shutil
import time
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from infra.modal_local.blobs import Blobs
from infra.modal_local.state import Image, Mount, Secret, Store, digest, new_id

BUILDER_VERSION = "2025.06"
NAMED = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
)
UNNAMED = (
    api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
)


class DeploymentFiles:
    """Mounts, images and secrets of one environment."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._mounts = store.all(Mount)
        self._images = store.all(Image)
        self._secrets = store.all(Secret)
        self._files = store.directory / "files"
        self._files.mkdir(exist_ok=True)
        # Written again when needed, so that those of replaced deployments disappear.
        self._roots = store.directory / "roots"
        shutil.rmtree(self._roots, ignore_errors=True)

    def write_files(self, definition: api_pb2.Function) -> Path:
        """Write the files of a container's image and mounts and return the folder that acts as its `/`.

        All containers of a deployment share one folder.
        """
        image = self._images.get(definition.image_id) or Image(id="")
        copies = [*image.copies, *((mount_id, "/") for mount_id in sorted(definition.mount_ids))]
        root = self._roots / digest(*(part for copy in copies for part in copy))
        if root.exists():
            return root
        unfinished = root.with_name(f"{root.name}.{new_id('tmp')}")
        for mount_id, destination in copies:
            for name, sha256 in self._mounts[mount_id].files.items():
                target = unfinished / destination.lstrip("/") / name.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._files / sha256, target)
        (unfinished / "root").mkdir(parents=True, exist_ok=True)
        return unfinished.rename(root)

    def environment(self, definition: api_pb2.Function) -> dict[str, str]:
        """Return the environment variables of a container's image and secrets."""
        image = self._images.get(definition.image_id) or Image(id="")
        environment = dict(image.environment)
        for secret_id in definition.secret_ids:
            environment.update(self._secrets[secret_id].variables)
        return environment

    async def environment_get_or_create(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Return the only environment under the requested name."""
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION)
        metadata = api_pb2.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-local", metadata=metadata)

    async def mount_batched_check_existence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Return the hashes of the files that are not stored yet."""
        missing = [sha256 for sha256 in request.sha256_hex_hashes if not (self._files / sha256).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        """Store a file under its computed SHA-256, not the claimed one."""
        data = request.data
        if request.WhichOneof("data_oneof") == "data_blob_id":
            data = self._blobs.path(request.data_blob_id).read_bytes()
        (self._files / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return api_pb2.MountPutFileResponse(exists=True)

    async def mount_get_or_create(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        """Store a list of files as a mount.

        A mount that is looked up by name is one of Modal's own, and empty here.
        """
        files = {file.filename: file.sha256_hex for file in request.files}
        checksum = digest(*(part for item in sorted(files.items()) for part in item))
        mount = Mount(id=f"mo-{checksum}", files=files)
        self._mounts[mount.id] = mount
        self._store.put(mount)
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount.id, handle_metadata=metadata)

    async def image_get_or_create(
        self, request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        """Record the variables and copies of an image and report it as built."""
        image = Image(id=f"im-{digest(request.image.SerializeToString(deterministic=True).hex())}")
        for base in request.image.base_images:
            if known := self._images.get(base.image_id):
                image.environment.update(known.environment)
                image.copies.extend(known.copies)
        for command in request.image.dockerfile_commands:
            words = shlex.split(command, comments=True)
            if words[:1] == ["ENV"]:
                for name, _, value in (word.partition("=") for word in words[1:]):
                    image.environment[name] = value
            elif words[:2] == ["COPY", "."] and request.image.context_mount_id:
                image.copies.append((request.image.context_mount_id, words[2]))
        self._images[image.id] = image
        self._store.put(image)
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image.id,
            result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=BUILDER_VERSION),
        )

    async def secret_get_or_create(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        """Look up a secret, or create it if the request says so."""
        name, creation = request.deployment_name, request.object_creation_type
        secret = next((secret for secret in self._secrets.values() if name and secret.name == name), None)
        if secret and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret {name!r} exists")
        if secret is None and creation not in NAMED + UNNAMED:
            raise GRPCError(Status.NOT_FOUND, f"Secret {name!r} not found")
        if secret is None or creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            secret_id = secret.id if secret else new_id("st")
            variables = dict(request.env_dict)
            secret = Secret(id=secret_id, name=name, variables=variables, created_at=time.time())
            self._secrets[secret.id] = secret
            self._store.put(secret)
        if missing := set(request.required_keys) - set(secret.variables):
            raise GRPCError(Status.NOT_FOUND, f"Secret {name!r} lacks {', '.join(sorted(missing))}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=describe(secret))

    async def secret_list(self, _request: api_pb2.SecretListRequest) -> api_pb2.SecretListResponse:
        """Return the secrets that have a name."""
        response = api_pb2.SecretListResponse(environment_name="main")
        for secret in self._secrets.values():
            if secret.name:
                response.items.add(
                    label=secret.name,
                    secret_id=secret.id,
                    created_at=secret.created_at,
                    metadata=describe(secret),
                )
        return response

    async def secret_delete(self, request: api_pb2.SecretDeleteRequest) -> Empty:
        """Delete a secret; running containers keep its values."""
        if secret := self._secrets.pop(request.secret_id, None):
            self._store.remove(secret)
        return Empty()


def describe(secret: Secret) -> api_pb2.SecretMetadata:
    """Return what the SDK shows of a secret, without its values."""
    metadata = api_pb2.SecretMetadata(
        name=secret.name, keys=sorted(secret.variables), environment_name="main"
    )
    metadata.creation_info.created_at = secret.created_at
    return metadata
