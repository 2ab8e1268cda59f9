"""Start attempts, rescue stuck ones, and plan their transfers."""
