"""The unmodified command line: deploy, redeploy, run, stop, manage secrets."""

from pathlib import Path

import modal
import pytest
from modal.exception import AuthError, NotFoundError, UnimplementedError

from infra.modal_local import ModalLocal
from tests.infra.modal_local.toy_app import (
    APP,
    deploy,
    get_function,
    open_client,
    run_modal_cli,
    wait_for_marks,
    wait_until,
)

PACKAGE_APP = """
import modal
from parts import words

image = modal.Image.debian_slim().add_local_python_source("parts")
image = image.add_local_file("note.txt", "/root/notes/note.txt")
app = modal.App("packaged", image=image, include_source=False)


@app.function()
def speak():
    return words.hello(), open("notes/note.txt").read()


@app.function(image=modal.Image.debian_slim())
def look():
    import parts
"""
CLASS_APP = """
import modal

app = modal.App("classy")


@app.cls()
class Greeter:
    greeting: str = modal.parameter(default="hello")

    @modal.enter()
    def begin(self):
        self.name = "world"

    @modal.method()
    def greet(self, mark):
        return f"{self.greeting} {self.name}{mark}"
"""


async def test_a_module_is_deployed_with_the_files_of_its_image(
    own_plane: ModalLocal, tmp_path: Path
) -> None:
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text("def hello():\n    return 'hello'\n")
    (package / "cloud.py").write_text(PACKAGE_APP)
    (tmp_path / "note.txt").write_text("a note")
    await run_modal_cli(own_plane, "deploy", "-m", "parts.cloud", cwd=tmp_path)
    async with open_client(own_plane) as client:
        speak = modal.Function.from_name("packaged", "speak", client=client)
        assert await speak.remote.aio() == ("hello", "a note")


async def test_a_container_that_cannot_start_is_retried_until_a_working_deployment(
    own_plane: ModalLocal, tmp_path: Path
) -> None:
    await deploy(
        own_plane,
        tmp_path,
        APP.replace("import modal\n", "import modal\nif not modal.is_local(): import absent_module\n"),
    )
    async with open_client(own_plane) as client:
        call = await get_function(client, "echo").spawn.aio("at last")
        with pytest.raises(TimeoutError):
            await call.get.aio(timeout=1)
        await deploy(own_plane, tmp_path)
        assert await call.get.aio(timeout=20) == "at last"


async def test_a_redeployment_keeps_its_ids_and_runs_the_new_code(
    own_plane: ModalLocal, tmp_path: Path
) -> None:
    async with open_client(own_plane) as client:
        echo, work = get_function(client, "echo"), get_function(client, "work")
        assert await echo.remote.aio("once") == "once"
        old = await work.spawn.aio(str(tmp_path))
        await wait_for_marks(tmp_path, 1)
        await deploy(own_plane, tmp_path, APP.replace("return value", "return value * 2"))
        assert await echo.remote.aio("once") == "onceonce"
        (tmp_path / "go").touch()
        assert isinstance(await old.get.aio(timeout=20), int)


async def test_a_deployment_that_fails_changes_nothing(own_plane: ModalLocal, tmp_path: Path) -> None:
    broken = APP.replace("return value", "return None") + (
        "\n@app.function(secrets=[modal.Secret.from_name('absent')])\ndef more(): pass\n"
    )
    (tmp_path / "toy.py").write_text(broken)
    output = await run_modal_cli(own_plane, "deploy", "toy.py", cwd=tmp_path, check=False)
    assert "'absent' not found" in output
    async with open_client(own_plane) as client:
        assert await get_function(client, "echo").remote.aio("as before") == "as before"


async def test_a_stopped_app_is_not_found_and_a_new_one_has_other_ids(
    own_plane: ModalLocal, tmp_path: Path
) -> None:
    async with open_client(own_plane) as client:
        echo, work = get_function(client, "echo"), get_function(client, "work")
        await echo.hydrate.aio()
        call = await work.spawn.aio(str(tmp_path))
        (mark,) = await wait_for_marks(tmp_path, 1)
        await run_modal_cli(own_plane, "app", "stop", "toy", "--yes")
        await wait_until(lambda: not Path(f"/proc/{mark.name.removeprefix('run-')}").exists())
        with pytest.raises(modal.exception.RemoteError):
            await call.get.aio(timeout=0)
        with pytest.raises(NotFoundError):
            await echo.spawn.aio(1)
        await deploy(own_plane, tmp_path)
        with pytest.raises(NotFoundError):
            await echo.spawn.aio(1)
        assert await get_function(client, "echo").remote.aio("again") == "again"


async def test_secrets_reach_the_containers_that_use_them(own_plane: ModalLocal, tmp_path: Path) -> None:
    await run_modal_cli(own_plane, "secret", "create", "keys", "PASSWORD=one", "OTHER=x")
    await run_modal_cli(own_plane, "secret", "create", "--force", "keys", "PASSWORD=two")
    asking = APP.replace(
        "\n@app.function(**common)\ndef surroundings",
        "\n@app.function(**common, secrets=[modal.Secret.from_name('keys')])\ndef surroundings",
    )
    await deploy(own_plane, tmp_path, asking)
    async with open_client(own_plane) as client:
        result = await get_function(client, "surroundings").remote.aio()
    assert result["secret"] == "two"


async def test_an_app_is_run_for_as_long_as_its_entry_point(own_plane: ModalLocal, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(APP.replace("return value", "print('and printed'); return value"))
    output = await run_modal_cli(own_plane, "run", "toy.py", cwd=tmp_path)
    assert "the entry point got an answer" in output
    assert "and printed" in output


async def test_a_class_keeps_its_state_between_calls(own_plane: ModalLocal, tmp_path: Path) -> None:
    (tmp_path / "classy.py").write_text(CLASS_APP)
    await run_modal_cli(own_plane, "deploy", "classy.py", cwd=tmp_path)
    async with open_client(own_plane) as client:
        greeter = modal.Cls.from_name("classy", "Greeter", client=client)()
        assert await greeter.greet.remote.aio("!") == "hello world!"


async def test_a_variant_has_its_own_options(own_plane: ModalLocal, tmp_path: Path) -> None:
    async with open_client(own_plane) as client:
        hasty = get_function(client, "work").with_options(timeout=1, gpu="H100")
        with pytest.raises(modal.exception.FunctionTimeoutError):
            await hasty.remote.aio(str(tmp_path))


async def test_a_wrong_token_is_rejected(own_plane: ModalLocal) -> None:
    async with open_client(own_plane, secret="as-wrong") as client:
        with pytest.raises(AuthError):
            await get_function(client, "echo").hydrate.aio()


async def test_a_missing_method_fails_with_its_name(own_plane: ModalLocal) -> None:
    async with open_client(own_plane) as client:
        with pytest.raises(UnimplementedError, match="QueueGetOrCreate"):
            await modal.Queue.from_name("q", create_if_missing=True, client=client).hydrate.aio()
