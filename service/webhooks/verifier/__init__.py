"""Explain why a signed message, or a consumer's verification of it, fails."""

from service.webhooks.verifier.diagnose import Diagnosis, diagnose
from service.webhooks.verifier.mistakes import Mistake
from service.webhooks.verifier.search import Keys, SentMessage

__all__ = ["Diagnosis", "Keys", "Mistake", "SentMessage", "diagnose"]
