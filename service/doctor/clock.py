"""Do the clocks of this machine and of others agree?"""

from callbacks.signing import TOLERANCE_SECONDS
from service.startup.findings import Finding, fail, ok, warn

WARN_SECONDS = 5.0
FAIL_SECONDS = TOLERANCE_SECONDS / 2
"""The clocks of runs may be off as well, and signatures are accepted within TOLERANCE_SECONDS."""


def compare_clocks(place: str, *, here: float, there: float) -> Finding:
    """Compare the time of this machine with that of another one, both in seconds since 1970."""
    seconds = here - there
    if abs(seconds) < WARN_SECONDS:
        return ok("clock", f"as that of {place}")
    direction = "ahead of" if seconds > 0 else "behind"
    sentence = f"this machine is {abs(seconds):.0f} s {direction} {place}; synchronize its clock (NTP)"
    return fail("clock", sentence) if abs(seconds) > FAIL_SECONDS else warn("clock", sentence)
