package sallyport.egress

# The policy of the end-to-end tests. What it allows stands in data.yaml; the rest is refused by name.

default decision := {"allow": false, "rule": "lab.default", "reason": "not on the lab's list"}

# A connection may begin, except towards addresses that are blocked as a whole.
decision := {"allow": true, "rule": "lab.connect"} if {
	input.stage == "connect"
	not blocked
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
