"""Post a probe from where runs are: a function on Modal, or `python -m gpu.callback_probe` with the target as JSON."""

import sys
from typing import Any

import msgspec

from callbacks.probe import ProbeTarget, post_probe


def answer_probe(target: dict[str, Any]) -> dict[str, Any]:
    """Post a probe, and return the answer, both as plain values."""
    answer: dict[str, Any] = msgspec.to_builtins(post_probe(msgspec.convert(target, ProbeTarget)))
    return answer


def main() -> None:
    """Read the target, post the probe, and print the answer as JSON."""
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeTarget)
    sys.stdout.buffer.write(msgspec.json.encode(post_probe(target)))


if __name__ == "__main__":
    main()
