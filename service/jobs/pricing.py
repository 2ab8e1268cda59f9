"""What a second of a GPU costs on Modal, in US dollars. Source: https://modal.com/pricing, as of May 2026."""

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
    """What the GPU alone costs for so many seconds; None where there is none or its price is not known.

    Processor and memory, billed on their own, come on top.
    """
    price = GPU_USD_PER_SECOND.get(_PRICE_ALIASES.get(gpu or "", gpu or ""))
    return None if price is None else round(price * gpu_seconds, 6)
