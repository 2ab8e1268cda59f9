"""What is wrong with a signed message that a consumer received, or with the way a consumer verifies it."""

from service.diagnosis.diagnose import Diagnosis, diagnose
from service.diagnosis.mistakes import Mistake
from service.diagnosis.search import Keys, Sent

__all__ = ["Diagnosis", "Keys", "Mistake", "Sent", "diagnose"]
