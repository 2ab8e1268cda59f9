"""Decode, convert, encode and mux: FFmpeg through PyAV, without knowledge of export types."""
