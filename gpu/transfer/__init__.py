"""Read sources and store the output over presigned URLs."""
