"""Settings of identity and secrets."""

from typing import Annotated, ClassVar

from service.settings.types import Default, Secret, Secrets, SettingsGroup, Url


class IdentitySettings(SettingsGroup):
    """How users are authenticated, and what signs callbacks and URLs."""

    heading: ClassVar = "Identity and secrets"

    auth_jwt_secret: Secret | None = None
    """verify bearer tokens with this secret (HS256), at least 32 bytes"""
    auth_jwks_url: Url = None
    """or with the keys published there (RS256, ES256, EdDSA)"""
    auth_audience: Annotated[str | None, Default("none: any")] = None
    """required `aud`"""
    auth_issuer: Annotated[str | None, Default("none: any")] = None
    """required `iss`"""
    callback_secret: Annotated[Secrets, Default("made, and kept in `DATA_DIR`")] = ()
    """signs callbacks and URLs; comma-separated, newest first, at least 32 bytes each; required with Modal"""
