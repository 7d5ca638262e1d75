# The policy of the speed measurements: one set of names, as most policies have.
package sallyport.egress

decision := {"allow": true, "rule": "connect"} if {
    input.stage == "connect"
    input.destination.transport == "tcp"
}

decision := {"allow": true, "rule": "names"} if {
    input.stage in {"hello", "request"}
    input.destination.host in hosts
}

hosts := {host | some host in data.hosts}
