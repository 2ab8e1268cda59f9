"""The commands on the Modal app: `framehook modal …`."""

import typer

from service.cli.errors import print_errors
from service.cli.options import command_group, examples

modal_app = command_group("Manage the Modal app.")


@modal_app.command(
    "deploy", epilog=examples("framehook modal deploy", "MODAL_GPU=A10G framehook modal deploy")
)
def modal_deploy() -> None:
    """Deploy the Modal functions that run exports, and check them.

    Reads MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (or what `modal token new` stored), MODAL_APP_NAME, MODAL_GPU,
    MODAL_MAX_CONTAINERS and MODAL_BUCKET_SECRET.
    """
    from service.cli.modal.deployment import check_connection, check_deployment, deploy  # loads the service
    from service.startup.commands import load_settings_or_exit

    settings = load_settings_or_exit()
    with print_errors():
        check_connection(settings)
        deploy(settings)
        check_deployment(settings)
    typer.echo(f"The app {settings.modal_app_name!r} is deployed and ready for MODAL_ENABLED=true.")
