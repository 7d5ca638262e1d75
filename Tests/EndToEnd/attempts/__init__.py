"""The tests. Importing this package registers all of them, in this order."""

from . import tls_segments  # noqa: F401
