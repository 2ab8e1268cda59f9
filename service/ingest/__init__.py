"""Apply callbacks: group commit, output verification, state changes in plain SQL."""
