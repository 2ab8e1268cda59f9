"""Definitions, handles and variants of functions, independent of their storage."""

from functools import lru_cache

from modal_proto import api_pb2

from infra.modal_local.state import Function, new_id


def definition_of(function: Function) -> api_pb2.Function:
    """Return the deployed definition; of several alternative GPUs the first, as none is used."""
    return parse(function.definition)


@lru_cache(maxsize=256)
def parse(definition: bytes) -> api_pb2.Function:
    """Parse a stored definition; the object is cached and must not be changed."""
    data = api_pb2.FunctionData.FromString(definition)
    first: api_pb2.Function = data.ranked_functions[0].function
    return first


def handle_of(definition: api_pb2.Function, app_id: str) -> api_pb2.FunctionHandleMetadata:
    """Return what a client learns when it looks up a function."""
    handle = api_pb2.FunctionHandleMetadata(
        app_id=app_id,
        definition_id=new_id("de"),
        function_name=definition.function_name,
        function_type=definition.function_type,
        is_method=definition.is_method,
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
    )
    for name, method in definition.method_definitions.items():
        handle.method_handle_metadata[name].MergeFrom(
            api_pb2.FunctionHandleMetadata(
                app_id=app_id,
                function_name=method.function_name,
                function_type=method.function_type,
                is_method=True,
                use_method_name=name,
                function_schema=method.function_schema,
                supported_input_formats=method.supported_input_formats,
                supported_output_formats=method.supported_output_formats,
            )
        )
    return handle


def describe(definition: api_pb2.Function) -> api_pb2.FunctionData:
    """Return a definition in the form that the SDK expects in responses."""
    data = api_pb2.FunctionData()
    data.ranked_functions.add(rank=0, function=definition)
    return data


def apply_options(base: api_pb2.Function, options: api_pb2.FunctionOptions) -> api_pb2.Function:
    """Return a definition with some of its options replaced."""
    definition = api_pb2.Function()
    definition.CopyFrom(base)
    for name in ("timeout_secs", "max_concurrent_inputs", "target_concurrent_inputs"):
        if options.HasField(name):
            setattr(definition, name, getattr(options, name))
    if options.HasField("resources"):
        definition.resources.CopyFrom(options.resources)
    if options.HasField("retry_policy"):
        definition.retry_policy.CopyFrom(options.retry_policy)
    if options.HasField("concurrency_limit"):
        definition.autoscaler_settings.max_containers = options.concurrency_limit
    if options.HasField("task_idle_timeout_secs"):
        definition.autoscaler_settings.scaledown_window = options.task_idle_timeout_secs
    if options.replace_secret_ids:
        del definition.secret_ids[:]
    definition.secret_ids.extend(options.secret_ids)
    return definition
