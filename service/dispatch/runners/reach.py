"""Whether functions on Modal can reach the address of callbacks, as far as its name says."""

from service.settings import Settings
from service.web_addresses import is_own_machine, is_private_network

_ADVICE = "use an address on the internet, such as that of a tunnel"


def find_unreachable_address(settings: Settings) -> str | None:
    """Return why functions can't post callbacks: the address means the machine on which they run."""
    if not is_own_machine(settings.callback_origin):
        return None
    return f"{_describe(settings)} is the function's own machine, so no callback would arrive; {_ADVICE}"


def find_doubtful_address(settings: Settings) -> str | None:
    """Return why functions may not be able to post callbacks: the address is in a private network."""
    if not is_private_network(settings.callback_origin):
        return None
    return f"{_describe(settings)} is in a private network, which functions may not reach; {_ADVICE}"


def _describe(settings: Settings) -> str:
    return f"{'CALLBACK_URL' if settings.callback_url else 'PUBLIC_URL'}: {settings.callback_origin}"
