"""The tests. Importing this package registers all of them, in this order."""

from . import journeys, tls_segments, tls_messages, http, zerocopy, identity, operation, machine, network, quic, layers, cutting, customers, sessions, restarts, peers  # noqa: F401
