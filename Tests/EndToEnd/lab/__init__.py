"""The lab: namespaces, servers, clients and the appliance under test. See ../README.md."""
