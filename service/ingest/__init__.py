"""Apply callbacks: group commit, verification of outputs, transitions in plain SQL."""
