"""Check the certificates that SSL_CERT_FILE and SSL_CERT_DIR name, before something fails that needs them."""

import os
import ssl
from pathlib import Path

from service.startup.errors import StartError


def check_authorities() -> None:
    """Raise StartError if a variable names no certificates; empty ones count as not set."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            is_readable = isinstance(error, ssl.SSLError)
            reason = "has no certificates" if is_readable else f"can't be read ({error.strerror})".lower()
            raise StartError(f"SSL_CERT_FILE: {file} {reason}; name a file of certificates (PEM)") from None
    if folder and not Path(folder).is_dir():
        raise StartError(f"SSL_CERT_DIR: {folder} is not a folder; name a folder of certificates")
