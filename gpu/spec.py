"""What one attempt is asked to do: its configuration, its sources and output, and where to report.

The service writes an AttemptSpec; a run reads it. Its only credentials are those of this attempt.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, SerializeAsAny, model_validator

from gpu.config import ExportConfig, StrictModel, WholeNumber
from gpu.export_types.registry import parse_config

CodecName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]


class WireModel(StrictModel):
    """A part of the spec that the service writes: a run ignores what a later service adds to it."""

    model_config = ConfigDict(extra="ignore")


class LocalFile(WireModel):
    """A file on the machine that runs the attempt."""

    path: str


class RemoteObject(WireModel):
    """An object read through a presigned GET, by range where the server allows it."""

    url: Annotated[str, Field(repr=False)]


class RemoteUpload(WireModel):
    """An output sent in parts, to presigned URLs that the run requests at `url` once it knows the size.

    The requests are signed with the attempt's own key (base64). So a spec is small for outputs of any size,
    no URL expires while the attempt waits for its turn, and an attempt that is over gets none.
    """

    url: str
    key: Annotated[str, Field(repr=False)]
    attempt: Annotated[int, Field(ge=1)]


class Transfer(WireModel):
    """Where the sources are read, by key, and where the output goes."""

    sources: dict[str, LocalFile | RemoteObject]
    output: LocalFile | RemoteUpload


class CallbackTarget(WireModel):
    """Where callbacks go, and the attempt's own key (base64)."""

    url: str
    key: str


class TypedConfig(StrictModel):
    """A configuration with the name of its export type."""

    type: str
    config: SerializeAsAny[ExportConfig]

    @model_validator(mode="before")
    @classmethod
    def _parse_config(cls, raw: object) -> object:
        if isinstance(raw, dict) and isinstance(raw.get("config"), dict) and isinstance(raw.get("type"), str):
            return raw | {"config": parse_config(raw["type"], raw["config"])}
        return raw


class AttemptSpec(TypedConfig):
    """Everything that one attempt needs, and nothing else."""

    job_id: str
    attempt: Annotated[int, Field(ge=1)]
    call_id: str
    transfer: Transfer
    callback: CallbackTarget | None = None
    request_id: str | None = None
    """The request that created the export; lines that the run logs have it."""
    traceparent: str | None = None
    """The trace of that request (W3C Trace Context)."""
    deadline_seconds: Annotated[float, Field(gt=0)] = 3_600.0


class DescribedTrack(StrictModel):
    """An audio track of a described source; one without a `sample_rate` can't be decoded."""

    codec: CodecName
    channels: Annotated[int, Field(ge=1, le=1_024), WholeNumber] | None = None
    sample_rate: Annotated[int, Field(ge=1, le=10_000_000), WholeNumber] | None = 48_000


class DescribedSource(StrictModel):
    """A video that is not here, by what a probe says of it: seconds, pixels as displayed, and bytes.

    `audio_tracks` are in the order of the file.
    """

    duration: Annotated[float, Field(gt=0, le=10_000_000)]
    width: Annotated[int, Field(ge=1, le=1_000_000), WholeNumber]
    height: Annotated[int, Field(ge=1, le=1_000_000), WholeNumber]
    fps: Annotated[float, Field(ge=0.001, le=10_000)]
    variable_fps: bool = False
    codec: CodecName
    size: Annotated[int, Field(ge=1, le=2**53), WholeNumber]
    audio_tracks: Annotated[tuple[DescribedTrack, ...], Field(max_length=256)] = ()


class EstimateSpec(TypedConfig):
    """What an estimate needs: a configuration, and its sources by key: where they are read, or what is known of one."""

    sources: dict[str, LocalFile | RemoteObject | DescribedSource]
