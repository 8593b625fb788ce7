"""How commands and workers know the server that they talk to."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


def context(url: str, ca_file: Path | None) -> ssl.SSLContext | None:
    """None where the address asks for no TLS.

    On this very machine a server goes by another name than its certificate's; there it is the
    certificate in the file itself that it must have.
    """
    place = urlsplit(url)
    if place.scheme != "https":
        return None
    made = ssl.create_default_context(cafile=ca_file)
    if ca_file is not None:
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.check_hostname = place.hostname not in _THIS_MACHINE
    return made
