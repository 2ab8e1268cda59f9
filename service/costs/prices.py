"""Prices of a GPU second on Modal, in US dollars; the setting GPU_USD_PER_SECOND replaces them.

Only the GPU is counted. Modal bills the processor and the memory of a container in addition, and the time for which it
keeps an idle container.
"""

import re
from types import MappingProxyType
from typing import Final

SOURCE: Final = "https://modal.com/pricing"
AS_OF: Final = "2026-05"
GPU_USD_PER_SECOND: Final = MappingProxyType(
    {
        "T4": 0.000164,
        "L4": 0.000222,
        "A10": 0.000306,
        "L40S": 0.000542,
        "A100-40GB": 0.000583,
        "A100-80GB": 0.000694,
        "H100": 0.001097,
        "H200": 0.001261,
        "B200": 0.001736,
    }
)
_ALIASES: Final = {"A10G": "A10", "A100": "A100-40GB", "H100!": "H100"}
_GPU: Final = re.compile(r"([^:]+)(?::([1-9]\d?))?")


def find_price(gpu: str | None, override: float | None = None) -> float | None:
    """Return the price of a second of `gpu`: 0 without one, else `override`; None if a price is unknown.

    `gpu` is what Modal takes: a name, `NAME:COUNT`, or a list by commas of which Modal takes the first that is free. A
    list has the price of its dearest GPU.
    """
    if gpu is None:
        return 0.0
    if override is not None:
        return override
    prices = [_find_price(choice.strip()) for choice in gpu.split(",")]
    known = [price for price in prices if price is not None]
    return max(known) if len(known) == len(prices) else None


def _find_price(choice: str) -> float | None:
    match = _GPU.fullmatch(choice)
    if match is None:
        return None
    name = match[1].upper()
    price = GPU_USD_PER_SECOND.get(_ALIASES.get(name, name))
    return None if price is None else price * int(match[2] or 1)
