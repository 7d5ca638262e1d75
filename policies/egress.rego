# What an agent may reach, on the data of data.yaml.
#
# Asked at four stages, each of which has to be allowed:
#   connect   the first packet of a flow: is there anything at all that this agent could reach at this address and port?
#   resolve   each DNS question: is this a name that the agent may reach?
#   hello     the server name of TLS or QUIC, or the protocol of a flow that names none
#   request   each cleartext HTTP request and each tunnel: host, method, path
package sallyport.egress

# The answer. Exactly one of the two is defined: `refusal` is the first reason against, `permission` needs there be none.
decision := permission

decision := refusal if not permission

# The last resort where neither is defined, such as data that has another form than data.yaml describes.
default refusal := {
	"allow": false,
	"rule": "no-rule",
	"reason": "no rule of the policy allows this",
}

# --- what is allowed

permission := {"allow": true, "rule": concat("/", ["connect", min(usable)])} if {
	input.stage == "connect"
	count(usable) > 0
	not own_listener
}

permission := {"allow": true, "rule": concat("/", ["resolve", min(knowing)])} if {
	input.stage == "resolve"
	input.question.type in question_types
	count(knowing) > 0
	not carrying
	not hurried
}

permission := {"allow": true, "rule": concat("/", [input.stage, min(reached)])} if {
	input.stage in {"hello", "request"}
	count(reached) > 0
	not own_listener
	not outer
}

permission := {"allow": true, "rule": concat("/", [input.stage, "own-listener"])} if {
	input.stage in {"connect", "hello", "request"}
	own_listener
}

# A socket of this host that the agent itself listens at: a worker, a browser that it drives.
own_listener if input.destination.listener_agent == input.agent.id

# --- the reasons against, the most telling one first

refusal := deny("agent", sprintf("agent %s may reach nothing: it is not listed under agents in the policy's data", [input.agent.id])) if {
	not data.agents[input.agent.id]
} else := deny("question-type", sprintf("agent %s may not ask for records of the type %s", [input.agent.id, input.question.type])) if {
	input.stage == "resolve"
	not input.question.type in question_types
} else := deny("no_session", sprintf("agent %s may reach this only for a customer, and no session covers the flow (open one with the customer's token)", [input.agent.id])) if {
	customer_missing
} else := deny("question", sprintf("agent %s may not look up %s: none of its destinations lists this name", [input.agent.id, input.question.name])) if {
	input.stage == "resolve"
	count(knowing) == 0
} else := deny("question-shape", sprintf("a label of %s is longer and more random than a host's name is: it may carry data out", [input.question.name])) if {
	carrying
} else := deny("question-rate", sprintf("agent %s asked for %d distinct names within a minute: that may carry data out", [input.agent.id, input.question.rate])) if {
	hurried
} else := deny("transport", sprintf("agent %s may not use %s: none of its destinations lists a protocol over it", [input.agent.id, input.destination.transport])) if {
	input.destination.transport != "tcp"
	count(carried) == 0
} else := deny("special-address", special_reason) if {
	closed
	count(usable) == 0
} else := deny("name_not_at_ip", sprintf("no name that agent %s may reach leads to %s: it has to be looked up first, at a resolver of the configuration", [input.agent.id, input.destination.address])) if {
	count(usable) == 0
	some group in carried
	input.destination.port in ports(group)
	count(data.destinations[group].hosts) > 0
} else := deny("port", sprintf("nothing that agent %s may reach is at port %d", [input.agent.id, input.destination.port])) if {
	count(usable) == 0
} else := deny("stage", sprintf("this policy has no rule for the stage %s", [input.stage])) if {
	not input.stage in {"connect", "resolve", "hello", "request"}
} else := deny("no-name", sprintf("no host name was given, and agent %s may not reach %s without one", [input.agent.id, input.destination.address])) if {
	not named
} else := deny("encrypted_client_hello", sprintf("%s is the outer name of a ClientHello that encrypts the one that is meant: agent %s would reach a name that nobody sees", [host, input.agent.id])) if {
	outer
} else := deny("host", sprintf("agent %s may not reach %s: none of its destinations lists this name", [input.agent.id, host])) if {
	count(knowing) == 0
} else := deny("special-address", special_reason) if {
	closed
	count(knowing & usable) == 0
} else := deny("name_not_at_ip", sprintf("%s does not lead to %s: no DNS answer that agent %s received says so", [host, input.destination.address, input.agent.id])) if {
	count(knowing & usable) > 0
	every group in knowing & usable { not at_its_place(group) }
} else := deny("protocol", sprintf("agent %s may not reach %s at port %d with %s", [input.agent.id, host, input.destination.port, protocol])) if {
	count(listing) == 0
} else := deny("tunnel", sprintf("agent %s may not reach %s through a proxy (CONNECT, SOCKS)", [input.agent.id, host])) if {
	tunnel
} else := deny("restricted", sprintf("%s is limited to certain HTTP methods and paths, which TLS hides", [host])) if {
	input.stage == "hello"
} else := deny("request", sprintf("%s %s is not among the methods and paths of %s that agent %s may use", [input.request.method, input.request.path, host, input.agent.id])) if {
	input.stage == "request"
}

special_reason := sprintf("%s is a private or special address: listed names may be there only if the policy's data lists it under inside", [input.destination.address])

deny(rule, reason) := {"allow": false, "rule": rule, "reason": reason}

# --- the groups that count for this agent and customer

groups contains group if {
	some group in data.agents[input.agent.id].reach
}

groups contains group if {
	tier := data.customers[input.customer.id]
	some group in data.agents[input.agent.id].tiers[tier]
}

# Whether the agent could reach this for some customer, while it works for none. A refusal with the rule no_session is
# recorded with that reason.
customer_missing if {
	not input.customer
	some tier
	some group in data.agents[input.agent.id].tiers[tier]
	for_customers(group)
}

for_customers(group) if {
	input.stage == "connect"
	some name in protocols(group)
	transport(name) == input.destination.transport
	input.destination.port in ports(group)
	leads_here(group)
}

for_customers(group) if {
	named
	input.stage != "connect"
	some pattern in patterns
	_ = data.destinations[group].hosts[pattern]
}

# Those with a protocol over this transport: QUIC is the only one over UDP.
carried contains group if {
	some group in groups
	some name in protocols(group)
	transport(name) == input.destination.transport
}

transport(name) := "udp" if name == "quic" else := "tcp"

# Those that something at this address and port could belong to.
usable contains group if {
	some group in carried
	input.destination.port in ports(group)
	leads_here(group)
}

# A name may be at any public address, or at one of the listed inside ones: where DNS answers are watched, at those that the
# agent was answered with.
leads_here(group) if {
	not closed
	not input.destination.names
	count(data.destinations[group].hosts) > 0
}

leads_here(group) if {
	not closed
	some name in input.destination.names
	some pattern in patterns_of(name)
	_ = data.destinations[group].hosts[pattern]
}

leads_here(group) if address_listed(group)

# Those that allow what the flow names.
reached contains group if {
	named
	some group in listing
	some pattern in patterns
	entry := data.destinations[group].hosts[pattern]
	unrestricted(entry)
	not tunnel
}

reached contains group if {
	named
	input.stage == "request"
	some group in listing
	some pattern in patterns
	entry := data.destinations[group].hosts[pattern]
	not unrestricted(entry)
	method_permitted(entry)
	path_permitted(entry)
}

# Inside a tunnel that was allowed.
reached contains group if {
	named
	input.stage == "hello"
	input.protocol.layers[0] in {"http", "socks"}
	some group in listing
	some pattern in patterns
	"CONNECT" in data.destinations[group].hosts[pattern].methods
}

reached contains group if {
	not named
	some group in usable
	protocol in protocols(group)
	address_listed(group)
}

# A protocol that never names a host, where a name of the group is known to lead.
reached contains group if {
	not named
	protocol in {"ssh", "postgres", "mysql", "smtp", "imap", "pop3", "ftp", "ldap", "redis", "mongodb", "mqtt"}
	some group in usable
	protocol in protocols(group)
	some name in input.destination.names
	some pattern in patterns_of(name)
	_ = data.destinations[group].hosts[pattern]
}

# Those that list the name, at this port and for this protocol.
listing contains group if {
	some group in usable
	group in knowing
	at_its_place(group)
	protocol in protocols(group)
}

# Whether the name is where it leads to, as far as that is known, or the address is listed by itself.
at_its_place(group) if not input.destination.address_matches_host == false

at_its_place(group) if address_listed(group)

# Those that list the name.
knowing contains group if {
	named
	some group in groups
	some pattern in patterns
	_ = data.destinations[group].hosts[pattern]
}

ports(group) := object.get(data.destinations[group], "ports", [80, 443])

protocols(group) := object.get(data.destinations[group], "protocols", ["tls", "http"])

protocol := input.protocol.name

# --- names

# What a client needs to reach a name. Others (TXT, NULL, ANY) carry more out and in than that.
question_types := {"A", "AAAA", "CNAME", "HTTPS", "SVCB"}

host := input.destination.host

# The address itself, written where a name belongs, is no name.
named if host != input.destination.address

# What may stand in the data for this host.
patterns := patterns_of(host)

# A name itself, and a star for each of its ends.
patterns_of(name) := {name} | {pattern |
	# A dot within a label is escaped in the name, and none between labels.
	not contains(name, "\\")
	labels := split(name, ".")
	count(labels) > 1
	some i in numbers.range(1, count(labels) - 1)
	pattern := concat(".", array.concat(["*"], array.slice(labels, i, count(labels))))
}

# --- Encrypted ClientHello

# Camouflage (GREASE) goes with the name that is meant, which leads to the address. What is really encrypted goes with the
# outer name of whoever holds the keys: one that is known as such, or one that does not lead there.
outer if {
	input.protocol.encrypted_client_hello
	input.destination.host in outer_names
}

outer if {
	input.protocol.encrypted_client_hello
	input.destination.address_matches_host == false
	not listed_here
}

listed_here if {
	some group in usable
	address_listed(group)
}

default outer_names := ["cloudflare-ech.com"]

outer_names := data.outer_names

# --- DNS as a way out: what a name says to whoever answers for it

# A label that is long, or one that no word is like.
carrying if {
	some label in input.question.labels
	count(label) > longest_label
}

carrying if {
	some label in input.question.labels
	count(label) >= random_label
	input.question.entropy > entropy
}

hurried if input.question.rate > names_per_minute

default longest_label := 50

longest_label := data.questions.longest_label

default random_label := 24

random_label := data.questions.random_label

default entropy := 3.9

entropy := data.questions.entropy

default names_per_minute := 300

names_per_minute := data.questions.names_per_minute

# --- methods and paths

# A tunnel ends at the host, but its way leads through somebody else: only where the host's methods list CONNECT.
tunnel if input.request.method == "CONNECT"

# A name that is not limited to certain requests.
unrestricted(entry) if not limited(entry)

limited(entry) if entry.methods

limited(entry) if entry.paths

method_permitted(entry) if not entry.methods

method_permitted(entry) if input.request.method in entry.methods

path_permitted(entry) if not entry.paths

path_permitted(entry) if {
	plain_path
	input.request.path in entry.paths
}

path_permitted(entry) if {
	plain_path
	some pattern in entry.paths
	endswith(pattern, "*")
	startswith(input.request.path, trim_suffix(pattern, "*"))
}

# Whether the server can only understand the path as it is compared here.
plain_path if not winding

winding if {
	some part in ["..", "//", "/./", "\\", ";", "%2e", "%2f", "%5c", "%25"]
	contains(lower(input.request.path), part)
}

# --- addresses

# Where no listed name may lead.
closed if {
	special
	not inside
}

inside if {
	some prefix in data.inside
	net.cidr_contains(prefix, input.destination.address)
}

address_listed(group) if {
	some prefix, _ in data.destinations[group].addresses
	net.cidr_contains(prefix, input.destination.address)
}

# Addresses that are not on the public Internet (IANA special-purpose registries, RFC 6890).
special if {
	some prefix in special4[split(input.destination.address, ".")[0]]
	net.cidr_contains(prefix, input.destination.address)
}

# Multicast, reserved and broadcast.
special if {
	not contains(input.destination.address, ":")
	to_number(split(input.destination.address, ".")[0]) >= 224
}

# Everything but global unicast: loopback, unique local (with the metadata address fd00:ec2::254), link-local, multicast,
# IPv4 inside IPv6.
special if {
	contains(input.destination.address, ":")
	not net.cidr_contains("2000::/3", input.destination.address)
}

special if {
	contains(input.destination.address, ":")
	some prefix in ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]
	net.cidr_contains(prefix, input.destination.address)
}

# IPv4 prefixes by their first number. 169.254.169.254 is the metadata service of most clouds.
special4 := {
	"0": ["0.0.0.0/8"],
	"10": ["10.0.0.0/8"],
	"100": ["100.64.0.0/10"],
	"127": ["127.0.0.0/8"],
	"169": ["169.254.0.0/16"],
	"172": ["172.16.0.0/12"],
	"192": ["192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"],
	"198": ["198.18.0.0/15", "198.51.100.0/24"],
	"203": ["203.0.113.0/24"],
}
