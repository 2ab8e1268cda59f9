"""A control plane on this machine that speaks Modal's protocol to the unmodified SDK and command line."""

from infra.modal_local.faults import Faults
from infra.modal_local.plane import ModalLocal

__all__ = ["Faults", "ModalLocal"]
