"""Bytes in and out: uploads, outputs of runs, and files under signed URLs."""
