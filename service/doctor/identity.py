"""The identity provider: can the keys be loaded with which tokens are verified?"""

import asyncio

from service.api.access.tokens import KeysUnreadable, count_keys
from service.settings import Settings
from service.startup.findings import Finding, fail, ok


async def check_identity(settings: Settings) -> list[Finding]:
    """Load the keys of AUTH_JWKS_URL; nothing without it."""
    url = settings.auth_jwks_url
    if not url:
        return []
    try:
        count = await asyncio.to_thread(count_keys, url)
    except KeysUnreadable as error:
        sentence = f"AUTH_JWKS_URL: the keys can't be loaded ({error}); check the URL and the network"
        return [fail("identity", sentence, is_temporary=True)]
    if not count:
        return [
            fail(
                "identity",
                "AUTH_JWKS_URL: no key there is for RS256, ES256 or EdDSA; use the URL of such keys",
            )
        ]
    return [ok("identity", f"{count} keys of AUTH_JWKS_URL can be used")]
