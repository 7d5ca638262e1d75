package a

import rego.v1

default allow := false

allow if {
	some s in data.suffixes
	endswith(input.host, s)
}

f(x) := y if { y := x + 1 } else := 2
