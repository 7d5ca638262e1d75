# The promises of egress.rego, on a small universe of their own, and one check of the real data.
package sallyport.egress_test

import data.sallyport.egress

universe := {
	"packages": {"ports": [443], "protocols": ["tls"], "hosts": {"pypi.org": null, "*.pythonhosted.org": null}},
	"web": {"hosts": {"docs.example": null, "api.docs.example": null}},
	"reports": {"ports": [80, 443], "hosts": {
		"reports.example": {"methods": ["GET", "HEAD"], "paths": ["/public/*", "/status"]},
		"upload.example": {"methods": ["PUT"]},
		"proxy.example": {"methods": ["CONNECT"]},
	}},
	"inner": {"ports": [5432], "hosts": {"db.internal": null}, "addresses": {"10.1.2.0/24": null}},
	"database": {"ports": [5432], "protocols": ["postgres"], "addresses": {"203.0.113.16/28": null, "2001:4860::/32": null}},
	"partner": {"ports": [8443], "hosts": {"api.partner.example": null}},
	"fast": {"ports": [443], "protocols": ["tls", "quic"], "hosts": {"quick.example": null}},
	"mail": {"ports": [25], "protocols": ["smtp", "tls"], "hosts": {"mx.example": null}, "addresses": {"9.9.9.9/32": null}},
}

agents := {
	"bot": {"reach": ["packages", "web", "reports"], "tiers": {"premium": ["partner"], "free": []}},
	"db-bot": {"reach": ["database", "inner"]},
	"lost": {"reach": ["no-such-group"]},
	"fast-bot": {"reach": ["fast"]},
	"mail-bot": {"reach": ["mail"]},
}

ask(changes) := answer if {
	answer := egress.decision with input as object.union(
		{
			"time": "2026-01-01T00:00:00Z",
			"stage": "hello",
			"agent": {"id": "bot", "labels": {}},
			"destination": {"host": "pypi.org", "host_source": "sni", "address": "93.184.215.14", "port": 443, "transport": "tcp"},
			"protocol": {"name": "tls", "version": "1.3", "alpn": ["h2"], "encrypted_client_hello": false},
		},
		changes,
	)
		with data.destinations as universe
		with data.agents as agents
		with data.customers as {"acme": "premium", "smallshop": "free"}
		with data.inside as ["198.18.0.0/15", "fd00:5::/64"]
}

connect(address, port) := ask({"stage": "connect", "destination": {"host": null, "address": address, "port": port}})

hello(host) := ask({"destination": {"host": host}})

request(host, method, path) := ask({
	"stage": "request",
	"destination": {"host": host, "port": 80},
	"protocol": {"name": "http", "version": "1.1"},
	"request": {"method": method, "path": path},
})

unnamed(agent, address, port, protocol) := answer if {
	answer := egress.decision with input as {
		"stage": "hello",
		"agent": {"id": agent},
		"destination": {"address": address, "port": port, "transport": "tcp"},
		"protocol": {"name": protocol},
	}
		with data.destinations as universe
		with data.agents as agents
		with data.inside as []
}

allowed(answer, rule) if answer == {"allow": true, "rule": rule}

refused(answer, rule) if {
	answer.allow == false
	answer.rule == rule
	count(answer.reason) > 20
}

test_listed_name if allowed(hello("pypi.org"), "hello/packages")

test_unlisted_name if refused(hello("evil.example"), "host")

test_reason_names_agent_and_host if {
	hello("evil.example").reason == "agent bot may not reach evil.example: none of its destinations lists this name"
}

test_wildcard_is_below_the_name if {
	allowed(hello("files.pythonhosted.org"), "hello/packages")
	allowed(hello("a.b.pythonhosted.org"), "hello/packages")
	refused(hello("pythonhosted.org"), "host")
	refused(hello("evilpythonhosted.org"), "host")
	refused(hello("files.pythonhosted.org.evil.example"), "host")
	refused(hello("org"), "host")
	refused(hello("*.pythonhosted.org.evil"), "host")
}

test_subdomain_of_exact_name_is_not_listed if refused(hello("x.pypi.org"), "host")

test_name_of_another_agents_group if {
	refused(ask({"agent": {"id": "db-bot"}, "destination": {"port": 5432}}), "host")
}

test_unknown_agent if {
	refused(ask({"agent": {"id": "stranger"}}), "agent")
	refused(ask({"agent": {"id": "stranger"}, "stage": "connect"}), "agent")
}

test_agent_of_missing_group if refused(ask({"agent": {"id": "lost"}}), "port")

test_connect_only_where_something_could_be if {
	allowed(connect("93.184.215.14", 443), "connect/packages")
	allowed(connect("2606:2800::1", 80), "connect/reports")
	refused(connect("93.184.215.14", 22), "port")
	refused(connect("93.184.215.14", 9443), "port")
}

test_udp_only_for_quic if {
	datagram := {"agent": {"id": "fast-bot"}, "destination": {"host": "quick.example", "transport": "udp"}}
	refused(ask({"stage": "connect", "destination": {"transport": "udp"}}), "transport")
	refused(ask({"destination": {"transport": "udp"}, "protocol": {"name": "quic"}}), "transport")
	allowed(ask(object.union(datagram, {"stage": "connect"})), "connect/fast")
	allowed(ask(object.union(datagram, {"protocol": {"name": "quic"}})), "hello/fast")
	refused(ask(object.union(datagram, {"protocol": {"name": "quic"}, "destination": {"host": "slow.example"}})), "host")
}

resolve(agent, name, type) := answer if {
	answer := ask({
		"stage": "resolve",
		"agent": {"id": agent},
		"destination": {"host": name, "host_source": "dns_question", "address": "10.0.0.53", "port": 53, "transport": "udp"},
		"protocol": {"name": "dns"},
		"question": {"name": name, "type": type},
	})
}

test_questions_for_names_that_may_be_reached if {
	allowed(resolve("bot", "pypi.org", "A"), "resolve/packages")
	allowed(resolve("bot", "files.pythonhosted.org", "HTTPS"), "resolve/packages")
	allowed(resolve("bot", "reports.example", "AAAA"), "resolve/reports")
	refused(resolve("bot", "evil.example", "A"), "question")
	refused(resolve("bot", "quick.example", "A"), "question")
	refused(resolve("bot", "pypi.org", "TXT"), "question-type")
	refused(resolve("stranger", "pypi.org", "A"), "agent")
}

test_mail_and_the_name_after_starttls if {
	after := {"agent": {"id": "mail-bot"}, "destination": {"host": "mx.example", "port": 25}, "protocol": {"name": "tls", "layers": ["smtp", "tls"]}}
	allowed(unnamed("mail-bot", "9.9.9.9", 25, "smtp"), "hello/mail")
	refused(unnamed("mail-bot", "9.9.9.10", 25, "smtp"), "no-name")
	refused(unnamed("mail-bot", "9.9.9.9", 25, "ssh"), "no-name")
	allowed(ask(after), "hello/mail")
	refused(ask(object.union(after, {"destination": {"host": "other.example"}})), "host")
}

test_unknown_protocol_is_reached_by_nobody if {
	refused(ask({"destination": {"host": "docs.example"}, "protocol": {"name": "unknown"}}), "protocol")
	refused(unnamed("db-bot", "203.0.113.17", 5432, "unknown"), "no-name")
}

test_port_and_protocol_of_the_group if {
	refused(ask({"destination": {"host": "pypi.org", "port": 80}}), "protocol")
	refused(request("pypi.org", "GET", "/"), "protocol")
	refused(ask({"destination": {"host": "docs.example"}, "protocol": {"name": "ssh"}}), "protocol")
	allowed(hello("docs.example"), "hello/web")
	allowed(request("docs.example", "GET", "/"), "request/web")
}

test_no_name if {
	refused(unnamed("bot", "93.184.215.14", 443, "tls"), "no-name")
	refused(unnamed("db-bot", "93.184.215.14", 5432, "postgres"), "no-name")
}

test_listed_address_needs_no_name if {
	allowed(unnamed("db-bot", "203.0.113.17", 5432, "postgres"), "hello/database")
	allowed(unnamed("db-bot", "2001:4860::1", 5432, "postgres"), "hello/database")
	refused(unnamed("db-bot", "2001:4860::1", 443, "postgres"), "port")
	refused(unnamed("db-bot", "203.0.113.17", 5432, "tls"), "no-name")
	refused(unnamed("db-bot", "203.0.113.32", 5432, "postgres"), "special-address")
}

test_address_written_as_host_is_no_name if {
	refused(ask({"destination": {"host": "93.184.215.14"}}), "no-name")
	refused(ask({"destination": {"host": "198.18.0.9"}}), "host")
}

test_encrypted_client_hello_alone_refuses_nothing if {
	allowed(ask({"protocol": {"encrypted_client_hello": true}}), "hello/packages")
}

test_special_addresses if {
	every address in [
		"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fc00::1", "fd00:ec2::254", "fe80::1",
		"ff02::1", "2001:db8::1", "2001::1", "2002:a00:1::1", "3fff::1",
	] {
		refused(ask({"destination": {"address": address}}), "special-address")
		refused(connect(address, 443), "special-address")
	}
}

test_public_addresses if {
	every address in [
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1", "128.0.0.1", "169.253.0.1",
		"172.15.0.1", "172.32.0.1", "192.0.3.1", "192.169.0.1", "198.17.255.255", "198.20.0.0", "203.0.114.1",
		"223.255.255.255", "2606:4700::1", "2a00:1450::1",
	] {
		allowed(ask({"destination": {"address": address}}), "hello/packages")
	}
}

test_inside_is_where_names_may_be if {
	allowed(ask({"destination": {"address": "198.18.0.1"}}), "hello/packages")
	allowed(ask({"destination": {"address": "fd00:5::7"}}), "hello/packages")
	allowed(connect("198.19.255.255", 443), "connect/packages")
	refused(ask({"destination": {"address": "fd00:6::7"}}), "special-address")
	refused(ask({"destination": {"host": "evil.example", "address": "198.18.0.1"}}), "host")
}

test_listed_address_is_for_its_own_group if {
	allowed(ask({"agent": {"id": "db-bot"}, "destination": {"host": "db.internal", "address": "10.1.2.3", "port": 5432}}), "hello/inner")
	refused(ask({"agent": {"id": "db-bot"}, "destination": {"host": "db.internal", "address": "10.1.3.3", "port": 5432}}), "special-address")
	refused(ask({"agent": {"id": "db-bot"}, "destination": {"host": "db.internal", "address": "203.0.113.17", "port": 5432}}), "special-address")
}

test_methods_and_paths if {
	allowed(request("reports.example", "GET", "/public/a"), "request/reports")
	allowed(request("reports.example", "HEAD", "/status"), "request/reports")
	allowed(request("upload.example", "PUT", "/any/where"), "request/reports")
	refused(request("reports.example", "POST", "/public/a"), "request")
	refused(request("reports.example", "get", "/public/a"), "request")
	refused(request("reports.example", "GET", "/private"), "request")
	refused(request("reports.example", "GET", "/status/x"), "request")
	refused(request("reports.example", "GET", "/public"), "request")
	refused(request("upload.example", "GET", "/"), "request")
}

test_winding_paths if {
	every path in [
		"/public/../private", "/public/%2e%2e/private", "/public/%2E./private", "/public/..%2fprivate", "/public//x",
		"/public/./x", "/public/..;/private", "/public/\\..\\private", "/public/%252e%252e/private",
	] {
		refused(request("reports.example", "GET", path), "request")
	}
}

test_restricted_name_is_not_reached_over_tls if refused(hello("reports.example"), "restricted")

test_tunnels if {
	refused(request("docs.example", "CONNECT", "evil.example:443"), "tunnel")
	allowed(request("proxy.example", "CONNECT", "proxy.example:443"), "request/reports")
	allowed(ask({"destination": {"host": "proxy.example", "port": 80}, "protocol": {"layers": ["http", "tls"]}}), "hello/reports")
	refused(ask({"destination": {"host": "proxy.example", "port": 80}}), "restricted")
}

test_tiers if {
	partner := {"destination": {"host": "api.partner.example", "port": 8443}}
	refused(ask(partner), "no_session")
	allowed(ask(object.union(partner, {"customer": {"id": "acme"}})), "hello/partner")
	refused(ask(object.union(partner, {"customer": {"id": "smallshop"}})), "port")
	refused(ask(object.union(partner, {"customer": {"id": "nobody"}})), "port")
	allowed(ask({"customer": {"id": "nobody"}}), "hello/packages")
	refused(ask(object.union(partner, {"customer": {"id": "acme"}, "agent": {"id": "db-bot"}})), "port")
}

# What no customer may reach is refused for what it is; what some customer may reach, for want of one.
test_no_session if {
	refused(connect("93.184.215.14", 8443), "no_session")
	refused(connect("93.184.215.14", 8444), "port")
	refused(ask({"stage": "resolve", "question": {"name": "api.partner.example", "type": "A"}, "destination": {"host": "api.partner.example", "port": 53, "transport": "udp"}}), "no_session")
	refused(ask({"stage": "resolve", "question": {"name": "api.partner.example", "type": "TXT"}, "destination": {"host": "api.partner.example", "port": 53, "transport": "udp"}}), "question-type")
	refused(hello("evil.example"), "host")
	refused(ask({"destination": {"host": "api.partner.example"}, "customer": {"id": "nobody"}}), "host")
	refused(ask({"destination": {"host": "api.partner.example"}, "agent": {"id": "db-bot"}}), "port")
}

listening(agent, stage, protocol) := ask({
	"stage": stage,
	"destination": {"host": "localhost", "address": "127.0.0.1", "port": 9222, "listener_agent": agent},
	"protocol": {"name": protocol},
})

test_own_listener if {
	allowed(listening("bot", "connect", "unknown"), "connect/own-listener")
	allowed(listening("bot", "hello", "unknown"), "hello/own-listener")
	allowed(listening("bot", "request", "http"), "request/own-listener")
}

test_listener_of_another_agent if {
	every stage in ["connect", "hello", "request"] {
		answer := listening("db-bot", stage, "http")
		answer.allow == false
	}
}

test_unknown_stage if refused(ask({"stage": "later"}), "stage")

test_exactly_one_answer_for_anything if {
	every odd in [{}, {"stage": 1}, {"agent": {"id": "bot"}}, {"stage": "hello", "agent": {"id": "bot"}, "destination": {}}] {
		answer := egress.decision with input as odd
		answer.allow == false
	}
}

# The data that is really loaded: every group that an agent names exists.
test_data_names_no_missing_group if {
	missing := {group |
		some agent in data.agents
		some group in array.concat(object.get(agent, "reach", []), [g | some gs in object.get(agent, "tiers", {}); some g in gs])
		not data.destinations[group]
	}
	count(missing) == 0
}

# --- names and places

placed(names, stage, host, matches) := ask({
	"stage": stage,
	"destination": {"host": host, "address": "93.184.215.14", "names": names, "address_matches_host": matches},
})

test_bound_name if allowed(placed(["pypi.org"], "hello", "pypi.org", true), "hello/packages")

# An ECH extension with the name that is meant is camouflage; with another one it hides the name that is meant.
hiding(host, matches) := ask({
	"destination": {"host": host, "address": "93.184.215.14", "names": ["pypi.org"], "address_matches_host": matches},
	"protocol": {"encrypted_client_hello": true},
})

test_camouflage if allowed(hiding("pypi.org", true), "hello/packages")

test_outer_name if {
	refused(hiding("evil.example", false), "encrypted_client_hello")
	refused(hiding("files.pythonhosted.org", false), "encrypted_client_hello")
	refused(hiding("cloudflare-ech.com", true), "encrypted_client_hello")
	allowed(ask({"agent": {"id": "mail-bot"}, "destination": {"host": "mx.example", "address": "9.9.9.9", "port": 25, "names": [], "address_matches_host": false}, "protocol": {"encrypted_client_hello": true}}), "hello/mail")
}

test_name_elsewhere if refused(placed(["files.pythonhosted.org"], "hello", "pypi.org", false), "name_not_at_ip")

test_address_of_another_name if refused(placed(["pypi.org"], "hello", "evil.example", false), "host")

test_connect_to_a_bound_address if allowed(placed(["files.pythonhosted.org"], "connect", null, null), "connect/packages")

test_connect_to_an_unbound_address if refused(placed([], "connect", null, null), "name_not_at_ip")

test_connect_to_an_unlisted_name if refused(placed(["evil.example"], "connect", null, null), "name_not_at_ip")

test_connect_at_another_port if {
	answer := ask({"stage": "connect", "destination": {"host": null, "address": "93.184.215.14", "port": 22, "names": []}})
	refused(answer, "port")
}

test_bound_name_at_the_inside if {
	answer := ask({
		"stage": "connect",
		"destination": {"host": null, "address": "169.254.169.254", "port": 443, "names": ["pypi.org"]},
	})
	refused(answer, "special-address")
}

test_listed_address_needs_no_answer if {
	answer := ask({
		"agent": {"id": "mail-bot"},
		"destination": {"host": "mx.example", "address": "9.9.9.9", "port": 25, "names": [], "address_matches_host": false},
		"protocol": {"name": "smtp"},
	})
	allowed(answer, "hello/mail")
}

nameless(names, protocol) := answer if {
	answer := egress.decision with input as {
		"stage": "hello",
		"agent": {"id": "mail-bot"},
		"destination": {"address": "93.184.215.14", "port": 25, "transport": "tcp", "names": names},
		"protocol": {"name": protocol},
	}
		with data.destinations as universe
		with data.agents as agents
		with data.inside as []
}

test_protocol_without_names_where_a_name_leads if allowed(nameless(["mx.example"], "smtp"), "hello/mail")

test_protocol_without_names_elsewhere if nameless([], "smtp").allow == false

test_unlisted_protocol_where_a_name_leads if nameless(["mx.example"], "ssh").allow == false

test_tls_without_a_name_where_a_name_leads if nameless(["mx.example"], "tls").allow == false

# --- DNS as a way out

question(facts) := ask({
	"stage": "resolve",
	"destination": {"host": facts.name, "host_source": "dns_question", "address": "198.18.0.53", "port": 53, "transport": "udp"},
	"protocol": {"name": "dns"},
	"question": object.union({"type": "A", "labels": split(facts.name, "."), "entropy": 2.5, "rate": 1}, facts),
})

test_ordinary_question if allowed(question({"name": "a-very-ordinary-but-longer-name.pythonhosted.org"}), "resolve/packages")

test_long_label if {
	name := "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.pythonhosted.org"
	refused(question({"name": name}), "question-shape")
}

test_random_label if {
	refused(question({"name": "mfrggzdfmztwq2lknnwg23tp.pythonhosted.org", "entropy": 4.1}), "question-shape")
}

test_many_names if refused(question({"name": "files.pythonhosted.org", "rate": 301}), "question-rate")

test_unlisted_name_is_no_matter_of_shape if refused(question({"name": "evil.example"}), "question")
