"""Price of a GPU second on Modal, in US dollars. Source: https://modal.com/pricing, as of May 2026."""

GPU_USD_PER_SECOND = {
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
_PRICE_ALIASES = {"A10G": "A10", "A100": "A100-40GB", "H100!": "H100"}


def estimate_usd(gpu: str | None, gpu_seconds: float) -> float | None:
    """Return the price of the GPU alone for these seconds; None without a GPU or with an unknown price.

    Modal bills processor and memory in addition.
    """
    price = GPU_USD_PER_SECOND.get(_PRICE_ALIASES.get(gpu or "", gpu or ""))
    return None if price is None else round(price * gpu_seconds, 6)
