"""The tests. Importing this package registers all of them, in this order."""

from . import tls_segments, tls_messages, http, zerocopy  # noqa: F401
