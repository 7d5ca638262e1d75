package sallyport.egress

# The policy of the comparison: names, and each only where the agent's own DNS answers lead. The peers are told the same names.

default decision := {"allow": false, "rule": "default", "reason": "not on the list"}

decision := {"allow": true, "rule": "connect"} if input.stage == "connect"

decision := {"allow": true, "rule": "questions"} if {
	input.stage == "resolve"
	named
	input.question.type in {"A", "AAAA"}
}

decision := {"allow": true, "rule": "names"} if {
	input.stage in {"hello", "request"}
	named
	input.destination.address_matches_host
}

named if input.destination.host in data.names

named if {
	some suffix in data.suffixes
	endswith(input.destination.host, suffix)
}
