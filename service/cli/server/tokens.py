"""Create bearer tokens: `framehook token`."""

import time

import jwt
import typer

from service.api.auth import is_valid_user_id
from service.cli.errors import USAGE_STATUS, exit_with
from service.settings import Settings
from service.startup.commands import load_settings_or_exit
from service.startup.statuses import CONFIGURATION_STATUS


def print_token(user: str, hours: float) -> None:
    """Print a token that the service with these settings accepts."""
    settings = load_settings_or_exit()
    require_user_id(user)
    if settings.auth_jwt_secret is None:
        exit_with(
            CONFIGURATION_STATUS, "AUTH_JWT_SECRET is not set; set it to the value that the service uses"
        )
    typer.echo(create_token(settings, user, hours))


def require_user_id(user: str) -> None:
    """Exit if the service would take no token for this user."""
    if not is_valid_user_id(user):
        exit_with(USAGE_STATUS, "USER must have 1 to 200 printable characters")


def create_token(settings: Settings, user: str, hours: float) -> str:
    """Create a token that a service with these settings accepts."""
    assert settings.auth_jwt_secret is not None
    claims = {"sub": user, "exp": int(time.time() + hours * 3600)}
    claims |= {"aud": settings.auth_audience} if settings.auth_audience else {}
    claims |= {"iss": settings.auth_issuer} if settings.auth_issuer else {}
    return jwt.encode(claims, settings.auth_jwt_secret.get_secret_value(), "HS256")
