"""The tests. Importing this package registers all of them, in this order."""

from . import journeys, tls_segments, tls_messages, http, zerocopy, identity, operation, machine, network, quic, protocols, layers, names, resolvers, fetching, resolving, explaining, clients, cutting, places, ech, tracking, reused, customers, sessions, restarts, doctor, peers  # noqa: F401
