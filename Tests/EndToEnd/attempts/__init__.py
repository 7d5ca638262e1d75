"""The tests. Importing this package registers all of them, in this order."""

from . import journeys, tls_segments, tls_messages, http, zerocopy, identity, network, machine  # noqa: F401
