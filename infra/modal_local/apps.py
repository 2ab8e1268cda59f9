"""Apps, functions and classes: created and published by `modal deploy`, looked up by clients."""

import time
from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from infra.modal_local.functions import apply_options, definition_of, describe, handle_of
from infra.modal_local.state import App, Function, Store, digest, new_id

EPHEMERAL = (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_INITIALIZING)


class Apps:
    """The apps of one environment; `watchers` are called after each change of what should run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._apps = store.all(App)
        self.functions = store.all(Function)
        self.watchers: list[Callable[[], None]] = []

    def is_deployed(self, function: Function) -> bool:
        """Return whether the app of a function stays when its client ends."""
        return self._apps[function.app_id].state not in EPHEMERAL

    def get_layout(self, app_id: str) -> api_pb2.AppLayout:
        """Return the ids and handles of the published functions and classes of an app."""
        app = self.get(app_id)
        layout = api_pb2.AppLayout(function_ids=app.functions, class_ids=app.classes)
        for function_id in app.functions.values():
            handle = api_pb2.FunctionHandleMetadata.FromString(self.functions[function_id].handle)
            layout.objects.add(object_id=function_id, function_handle_metadata=handle)
        for name, class_id in app.classes.items():
            layout.objects.add(object_id=class_id, class_handle_metadata=self._class_handle(app, name))
        return layout

    def exists(self, app_id: str) -> bool:
        """Return whether the app exists and has not been stopped."""
        return app_id in self._apps

    def get(self, app_id: str) -> App:
        """Return an app, or raise NOT_FOUND."""
        if app_id not in self._apps:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} not found")
        return self._apps[app_id]

    async def app_get_by_deployment_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """Return the id of a deployed app, or an empty one, upon which the SDK creates an app."""
        app = self._find_deployed(request.name)
        response = api_pb2.AppGetByDeploymentNameResponse(environment_name="main")
        if app:
            response.app_id = app.id
            response.lifecycle.app_state = api_pb2.APP_STATE_DEPLOYED
        return response

    async def app_create(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        """Create an app that is published later."""
        app = App(id=new_id("ap"), name=request.description, state=request.app_state)
        self._apps[app.id] = app
        self._store.put(app)
        page = f"http://127.0.0.1/apps/{app.id}"
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=page, app_logs_url=page)

    async def app_get_layout(self, request: api_pb2.AppGetLayoutRequest) -> api_pb2.AppGetLayoutResponse:
        """Return what is published, so that a redeployment keeps its ids."""
        return api_pb2.AppGetLayoutResponse(app_layout=self.get_layout(request.app_id))

    async def app_heartbeat(self, _request: api_pb2.AppHeartbeatRequest) -> Empty:
        """Do nothing: AppClientDisconnect reports the end of a client."""
        return Empty()

    async def app_publish(self, request: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        """Replace an app's definitions by its drafts atomically, and drop its removed functions."""
        app = self.get(request.app_id)
        app.name = request.name or app.name
        app.state = request.app_state
        app.functions, app.classes = dict(request.function_ids), dict(request.class_ids)
        app.deployed_at = time.time()
        self._store.put(app)
        self._apply_drafts(app)
        self._notify()
        return api_pb2.AppPublishResponse(url=f"http://127.0.0.1/apps/{app.id}", deployed_at=app.deployed_at)

    async def app_client_disconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        """Stop an app that ends with its client, or whose first deployment failed."""
        app = self._apps.get(request.app_id)
        if app and app.state in EPHEMERAL:
            self._stop(app)
        return Empty()

    async def app_stop(self, request: api_pb2.AppStopRequest) -> Empty:
        """Stop an app permanently, which frees its name and the ids of its functions."""
        self._stop(self.get(request.app_id))
        return Empty()

    async def function_precreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        """Assign an id to a function before its definition, which may refer to other functions."""
        function = self.functions.get(request.existing_function_id)
        if function is None:
            function = Function(id=new_id("fu"), app_id=request.app_id, name=request.function_name)
            self.functions[function.id] = function
        definition = api_pb2.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            method_definitions=request.method_definitions,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        return api_pb2.FunctionPrecreateResponse(
            function_id=function.id, handle_metadata=handle_of(definition, request.app_id)
        )

    async def function_create(self, request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionCreateResponse:
        """Store a definition as draft until its app is published."""
        function = self.functions[request.existing_function_id]
        data = request.function_data
        if request.HasField("function"):
            data = describe(request.function)
        definition = data.ranked_functions[0].function
        function.name = definition.function_name
        function.draft = data.SerializeToString()
        self._store.put(function)
        return api_pb2.FunctionCreateResponse(
            function_id=function.id,
            function=definition,
            function_data=data,
            handle_metadata=handle_of(definition, request.app_id),
        )

    async def function_get(self, request: api_pb2.FunctionGetRequest) -> api_pb2.FunctionGetResponse:
        """Look up a function by the name of its app and its own name."""
        app = self._find_deployed(request.app_name)
        function = self.functions.get(app.functions.get(request.object_tag, "")) if app else None
        if function is None:
            raise GRPCError(
                Status.NOT_FOUND, f"no function {request.object_tag!r} in app {request.app_name!r}"
            )
        return api_pb2.FunctionGetResponse(
            function_id=function.id,
            handle_metadata=api_pb2.FunctionHandleMetadata.FromString(function.handle),
            function=api_pb2.FunctionData.FromString(function.definition),
        )

    async def function_bind_params(
        self, request: api_pb2.FunctionBindParamsRequest
    ) -> api_pb2.FunctionBindParamsResponse:
        """Create a variant of a function with other options or with parameters of its class."""
        base = self.functions.get(request.function_id)
        if base is None:
            raise GRPCError(Status.NOT_FOUND, f"Function {request.function_id} not found")
        options = request.function_options.SerializeToString(deterministic=True)
        parameters = request.serialized_params
        variant = Function(
            id=f"fu-{digest(base.id, parameters.hex(), options.hex())}",
            app_id=base.app_id,
            name=base.name,
            base_id=base.id,
            parameters=parameters,
            options=options,
        )
        variant = self.functions.setdefault(variant.id, variant)
        self._derive(variant, base)
        handle = api_pb2.FunctionHandleMetadata.FromString(base.handle)
        handle.base_function_id = base.id
        return api_pb2.FunctionBindParamsResponse(bound_function_id=variant.id, handle_metadata=handle)

    async def class_create(self, request: api_pb2.ClassCreateRequest) -> api_pb2.ClassCreateResponse:
        """Assign an id to a class; its methods belong to its service function."""
        return api_pb2.ClassCreateResponse(
            class_id=request.existing_class_id or new_id("cs"), handle_metadata=api_pb2.ClassHandleMetadata()
        )

    async def class_get(self, request: api_pb2.ClassGetRequest) -> api_pb2.ClassGetResponse:
        """Look up a class by the name of its app and its own name."""
        app = self._find_deployed(request.app_name)
        if app is None or request.object_tag not in app.classes:
            raise GRPCError(Status.NOT_FOUND, f"no class {request.object_tag!r} in app {request.app_name!r}")
        return api_pb2.ClassGetResponse(
            class_id=app.classes[request.object_tag],
            handle_metadata=self._class_handle(app, request.object_tag),
        )

    def _class_handle(self, app: App, name: str) -> api_pb2.ClassHandleMetadata:
        function_id = app.functions[f"{name}.*"]
        handle = api_pb2.FunctionHandleMetadata.FromString(self.functions[function_id].handle)
        return api_pb2.ClassHandleMetadata(class_function_id=function_id, class_function_metadata=handle)

    def _find_deployed(self, name: str) -> App | None:
        apps = self._apps.values()
        return next(
            (app for app in apps if app.name == name and app.state == api_pb2.APP_STATE_DEPLOYED), None
        )

    def _apply_drafts(self, app: App) -> None:
        published_ids = set(app.functions.values())
        app_functions = [function for function in self.functions.values() if function.app_id == app.id]
        for function in app_functions:
            if (function.base_id or function.id) not in published_ids:
                self._drop(function)
            elif function.draft:
                function.definition, function.draft = function.draft, b""
                function.handle = handle_of(definition_of(function), app.id).SerializeToString()
                self._store.put(function)
        for function in app_functions:
            if function.base_id in published_ids:
                self._derive(function, self.functions[function.base_id])

    def _derive(self, variant: Function, base: Function) -> None:
        options = api_pb2.FunctionOptions.FromString(variant.options)
        definition = apply_options(definition_of(base), options)
        variant.definition = describe(definition).SerializeToString(deterministic=True)
        variant.handle = base.handle
        self._store.put(variant)

    def _stop(self, app: App) -> None:
        del self._apps[app.id]
        self._store.remove(app)
        for function in [function for function in self.functions.values() if function.app_id == app.id]:
            self._drop(function)
        self._notify()

    def _drop(self, function: Function) -> None:
        del self.functions[function.id]
        self._store.remove(function)

    def _notify(self) -> None:
        for watcher in self.watchers:
            watcher()
