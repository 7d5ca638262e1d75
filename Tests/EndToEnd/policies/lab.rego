package sallyport.egress

# The policy of the end-to-end tests. What it allows stands in data.yaml; the rest is refused by name.

default decision := {"allow": false, "rule": "lab.default", "reason": "not on the lab's list"}

# A connection may begin, except towards addresses that are blocked as a whole.
decision := {"allow": true, "rule": "lab.connect"} if {
	input.stage == "connect"
	not blocked
	not unled
}

# To some addresses only where one of the agent's own answers leads there.
decision := {"allow": false, "rule": "name_not_at_ip", "reason": "no name that is allowed leads there"} if {
	input.stage == "connect"
	unled
}

unled if {
	input.destination.address in data.lab.led
	not led
}

led if {
	some name in input.destination.names
	endswith(name, ".bound.test")
}

decision := {"allow": false, "rule": "lab.blocked", "reason": "the address is blocked"} if {
	input.stage == "connect"
	blocked
}

# A named destination is allowed by its name.
decision := {"allow": true, "rule": "lab.names"} if {
	input.stage in {"hello", "request"}
	named
}

# An address that is allowed whatever is said to it, also without a name.
decision := {"allow": true, "rule": "lab.direct"} if {
	input.stage in {"hello", "request"}
	not named
	input.destination.address in data.lab.direct
}

# A question is allowed by the name that is asked for.
decision := {"allow": true, "rule": "lab.questions"} if {
	input.stage == "resolve"
	named
	input.question.type in {"A", "AAAA"}
}

# What names nobody is allowed by its protocol, at the one server where the lab's servers are.
decision := {"allow": true, "rule": "lab.unnamed"} if {
	input.stage == "hello"
	not input.destination.host
	not input.destination.address in data.lab.direct
	not input.destination.address in data.lab.named_only
	input.protocol.name in data.lab.unnamed
	not forbidden_database
}

forbidden_database if input.database.name in data.lab.forbidden_databases

blocked if input.destination.address in data.lab.blocked

named if input.destination.host in data.lab.names

named if {
	some suffix in data.lab.suffixes
	endswith(input.destination.host, suffix)
}

# A named thing at a listener of the agent's own.
decision := {"allow": true, "rule": "lab.own-listener"} if {
	input.stage in {"hello", "request"}
	input.destination.host == "own-listener.test"
	input.destination.listener_agent == input.agent.id
}

# NAME.CUSTOMER.customers.test is that customer's alone.
decision := {"allow": true, "rule": "lab.customer"} if {
	input.stage in {"hello", "request", "resolve"}
	owner == input.customer.id
}

decision := {"allow": false, "rule": "no_session", "reason": "a customer's destination, and no customer"} if {
	input.stage in {"hello", "request", "resolve"}
	owner
	not input.customer
}

owner := parts[1] if {
	parts := split(input.destination.host, ".")
	count(parts) == 4
	endswith(input.destination.host, ".customers.test")
}

# NAME.bound.test is allowed where the agent's own DNS answers lead.
decision := {"allow": true, "rule": "lab.bound"} if {
	input.stage in {"hello", "request"}
	bound
	input.destination.address_matches_host
}

decision := {"allow": false, "rule": "name_not_at_ip", "reason": "no answer of a resolver leads there"} if {
	input.stage in {"hello", "request"}
	bound
	not input.destination.address_matches_host
}

decision := {"allow": true, "rule": "lab.bound-questions"} if {
	input.stage == "resolve"
	bound
}

bound if endswith(input.destination.host, ".bound.test")

# Whose an address is may be asked.
decision := {"allow": true, "rule": "lab.reverse"} if {
	input.stage == "resolve"
	input.question.type == "PTR"
	some zone in [".in-addr.arpa", ".ip6.arpa"]
	endswith(input.question.name, zone)
}

# NAME.plain.test is allowed to clients that hide no name, and do not look as if they did.
decision := {"allow": true, "rule": "lab.plain"} if {
	input.stage == "hello"
	plain
	not input.protocol.encrypted_client_hello
}

decision := {"allow": false, "rule": "encrypted_client_hello", "reason": "the name may be another one"} if {
	input.stage == "hello"
	plain
	input.protocol.encrypted_client_hello
}

plain if endswith(input.destination.host, ".plain.test")
