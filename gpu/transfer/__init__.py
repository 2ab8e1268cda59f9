"""Read sources and store the output, on this machine or over presigned URLs."""
