#!/usr/bin/env bash
# After a boot with the daemon disabled.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

entered() { systemctl show -P "$2" "$1"; }

check "the world is there" eventually test -s /run/world/sink
check "the world answers the host" eventually as_host allowed.test 198.18.10.1
equal "the rules are in force after a boot" active "$(systemctl is-active sallyport-firewall)"
check "the rules were there before the network was set up" test \
    "$(entered sallyport-firewall.service ActiveEnterTimestampMonotonic)" -lt \
    "$(entered systemd-networkd.service ExecMainStartTimestampMonotonic)"
check "the rules are what they should be" sallyport rules check
equal "the daemon does not run" inactive "$(systemctl is-active sallyportd)"
check "an agent tries since the boot began" systemctl is-active impatient
equal "nothing of it passed" 0 "$(sink_bytes)"
said=$(as_agent allowed.test 198.18.10.1)
check "an allowed name is refused at once" is_refused "$said"
said=$(agent true 2>&1)
check "sallyport run says that the daemon is not there" grep -q 'sallyportd does not answer' <<<"$said"
equal "somebody else's rules came back" "$(cat /var/lib/before/ruleset)" "$(nft -s list table inet others)"

# Two-sided: the same agent without the rules reaches the sink.
systemctl enable -q --now sallyportd
check "the daemon starts" eventually is_attended
equal "an allowed name passes" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"
equal "still nothing of the other agent passed" 0 "$(sink_bytes)"
