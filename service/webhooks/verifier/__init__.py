"""What is wrong with a signed message that a consumer received, or with the way a consumer verifies it."""

from service.webhooks.verifier.diagnose import Diagnosis, diagnose
from service.webhooks.verifier.mistakes import Mistake
from service.webhooks.verifier.search import Keys, SentMessage

__all__ = ["Diagnosis", "Keys", "Mistake", "SentMessage", "diagnose"]
