#!/usr/bin/env bash
# An agent as a service and by `sallyport run`: allowed and refused flows, and what the journal says of them.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

cat >/etc/sallyport/sallyport.yaml <<'END'
agents:
  - id: research-bot
    labels: { team: growth }
  - id: report-bot
    unit: report-bot.service
resolvers: [198.18.10.1]
bindings:
  - host: allowed.test
    addresses: &places [198.18.10.1, 198.18.10.2, "fd00:10::1", "fd00:10::2"]
  - host: vip.test
    addresses: *places
END
cat >/etc/sallyport/policies/data.yaml <<'END'
destinations:
  site: { hosts: { allowed.test: null } }
agents:
  research-bot: { reach: [site] }
  report-bot: { reach: [site] }
customers: {}
inside: ["198.18.10.0/24", "fd00:10::/64"]
END
check "the daemon takes a new configuration" systemctl restart sallyportd
check "the policy is reloaded" systemctl reload sallyportd
check "the rules are attended" eventually is_attended

# The example units of the project, with a program that tries everything once.
mkdir -p /opt/research-bot /etc/systemd/system/report-bot.service.d
cp "$here/agent.py" /opt/research-bot/main.py
sed 's/^Restart=.*/Type=oneshot/; /network-online/s/ network-online.target//' \
    /usr/share/sallyport/systemd/examples/research-bot.service >/etc/systemd/system/research-bot.service
cat >/etc/systemd/system/report-bot.service <<'END'
[Service]
Type=oneshot
User=other
ExecStart=/usr/bin/python3 /opt/research-bot/main.py
END
cp /usr/share/sallyport/systemd/examples/existing-agent.conf /etc/systemd/system/report-bot.service.d/sallyport.conf
systemctl daemon-reload

attempts_of() {
    local cursor
    cursor=$(journalctl -q -b -n 1 --show-cursor | sed -n 's/^-- cursor: //p')
    systemctl start "$1.service"
    journalctl --sync
    journalctl -q -b -o cat -u "$1.service" --after-cursor="$cursor"
}

for bot in research-bot report-bot; do
    before=$(sink_bytes)
    said=$(attended attempts_of "$bot")
    for promise in "allowed name passes" "allowed name passes over IPv6" "refused name is refused" "HTTP to an allowed host passes" \
        "HTTP to another host is refused" "DNS to the listed resolver passes" "DNS to another resolver is refused" \
        "no name server but by the network" "no packet socket" "no raw socket" "no io_uring" "no user namespace" \
        "no capability" "no way out of the cgroup"; do
        equal "$bot: $promise" "yes" "$(sed -n "s/^$promise: //p" <<<"$said")"
    done
    equal "$bot: nothing reached the sink" "$before" "$(sink_bytes)"
    check "$bot: the journal has the allowed flow" \
        record SALLYPORT_AGENT=$bot SALLYPORT_VERDICT=allow SALLYPORT_HOST=allowed.test SALLYPORT_PORT=443
    check "$bot: the journal has the refused flow and why" \
        record SALLYPORT_AGENT=$bot SALLYPORT_VERDICT=deny SALLYPORT_HOST=refused.test SALLYPORT_REASON=policy
done
check "the journal's catalog explains a refusal" \
    bash -c "journalctl -q -b -x -n 1 SYSLOG_IDENTIFIER=sallyport SALLYPORT_VERDICT=deny | grep -q 'Defined-By: Sallyport'"
check "an operator finds the refusal" bash -c "sallyport decisions --denied --agent research-bot | grep -q refused.test"

# In the foreground.
equal "sallyport run: an allowed name passes" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"
before=$(sink_bytes)
check "sallyport run: a refused name is refused at once" is_refused "$(as_agent refused.test 198.18.10.2)"
equal "sallyport run: no byte of it left" "$before" "$(sink_bytes)"
equal "the host itself is not confined" "hello from refused.test" "$(as_host refused.test 198.18.10.1)"
agent sh -c 'exit 42'
equal "sallyport run passes the exit code through" 42 $?
agent sh -c 'kill -TERM $$'
equal "sallyport run passes signals through" 143 $?
equal "the command is in a scope of the agent's slice" "yes" \
    "$(agent grep -qE '^0::/sallyport\.slice/sallyport-research\\x2dbot\.slice/run-.*\.scope$' /proc/self/cgroup && echo yes)"
equal "the command is the other user with that user's groups" "$(id bot)" "$(agent id)"
check "sudo gives nothing back" refute agent sudo -n true
said=$(sallyport run --agent nobody-knows --user bot -- true 2>&1)
equal "an unknown agent is refused with those that are known" \
    "2 sallyport: run: nobody-knows: no such agent in /etc/sallyport/sallyport.yaml (it has research-bot, report-bot)" "$? $said"
said=$(sallyport run --agent research-bot -- true 2>&1)
equal "without --user nothing runs" \
    "2 sallyport: run: --user is missing: an agent never runs as root (add --user bot)" "$? $said"
said=$(runuser -u bot -- sallyport run --agent research-bot --user bot -- true 2>&1)
equal "an ordinary user cannot confine" 2 "$?"

# The cgroup of the slice survives its last process.
check "the rules know the slice after its agents have ended" sallyport rules check

# What is really enforced, looked at from outside.
# no_hole: doctor finds none. Where the daemon was late, the rules have refused its flow by themselves: it is asked again.
no_hole() {
    local said turn
    for turn in 1 2 3; do
        if said=$(sallyport doctor); then return 0; fi
        printf 'turn %s: %s\n' "$turn" "$said"
        eventually is_attended
    done
    return 1
}
check "doctor finds no hole" no_hole
# Not by the function: its shell would be what is killed, and the agent would keep this part's output open.
sallyport run --agent research-bot --user bot -- sleep 600 </dev/null >/dev/null 2>&1 &
started=$!
check "nor with an agent of sallyport run" no_hole
equal "and knows everything" "0 unknown" "$(sallyport doctor | sed -n '$s/.*, //p')"
kill "$started"
wait "$started" 2>/dev/null
# finds CHECK WORD OPTION...: while a service runs with these options, the check has a hole with that word.
finds() {
    local said status=0
    systemd-run -q --unit=patient "${@:3}" sleep 600
    said=$(sallyport doctor) || status=$?
    systemctl stop patient
    if ((status == 1)) && grep -q "^hole *$1 .*$2" <<<"$said"; then return 0; fi
    printf 'exit %s: %s\n' "$status" "$said"
    return 1
}
check "doctor finds an agent that is root" finds root "is uid 0" --slice=sallyport.slice
check "doctor finds a capability" \
    finds capabilities CAP_NET_RAW --slice=sallyport.slice -p User=other -p AmbientCapabilities=CAP_NET_RAW
nft add table ip loose
nft add chain ip loose out '{ type filter hook output priority raw; }'
nft add rule ip loose out udp dport 99 notrack
check "doctor finds a rule of somebody else's that undoes ours" bash -c "sallyport doctor | grep -q '^hole *other_tables .*notrack'"
nft delete table ip loose
systemctl disable -q sallyportd
check "doctor finds a daemon that does not come back" bash -c "sallyport doctor | grep -q '^hole *boot .*sallyportd.service'"
systemctl enable -q sallyportd
check "doctor finds no hole afterwards" no_hole
