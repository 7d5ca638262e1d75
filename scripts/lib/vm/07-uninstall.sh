#!/usr/bin/env bash
# uninstall.sh leaves the host as it was.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

uninstall=/usr/share/sallyport/uninstall.sh
said=$("$uninstall" 2>&1)
check "uninstall.sh refuses while an agent runs, which would be free" \
    grep -Eq 'uninstall: [0-9]+ processes? still runs? in sallyport.slice' <<<"$said"
check "and has changed nothing" nft list table inet sallyport
check "a dry run says what it would do" grep -q '^would remove the rules' <<<"$("$uninstall" --dry-run 2>&1)"
check "a dry run changes nothing" systemctl is-active sallyportd
before=$(sink_bytes)
check "uninstall.sh uninstalls" "$uninstall" --stop-agents
equal "agents were stopped before the rules went" "$before" "$(sink_bytes)"

equal "the ruleset is what it was" "$(cat /var/lib/before/ruleset)" "$(nft -s list ruleset)"
equal "settings of connection tracking are what they were" "$(cat /var/lib/before/sysctl)" \
    "$(sysctl -a 2>/dev/null | grep '^net\.netfilter\.nf_conntrack_[a-z_]* ' | grep -v _count)"
equal "no connection carries a mark of ours" "" "$(conntrack -L 2>/dev/null | grep -E 'mark=[1-9]' | awk '{
    for (i = 1; i <= NF; i++) if ($i ~ /^mark=/) { split($i, mark, "="); if (mark[2] >= 16777216) print } }')"
check "somebody else's marks stay" bash -c "conntrack -L -p tcp --orig-port-dst 22 2>/dev/null | grep -q mark=256"
equal "no cgroup of ours is left" "" "$(find /sys/fs/cgroup -name 'sallyport*')"
# Units of the agents, which are not ours, refer to the slice.
rm -f /etc/systemd/system/{research-bot,report-bot,impatient}.service /etc/systemd/system/*/impatient.service \
    /opt/impatient.py /tmp/good.yaml
rm -rf /etc/systemd/system/report-bot.service.d /opt/research-bot
systemctl daemon-reload
equal "no unit of ours is left" "" "$(systemctl list-units --all --no-legend 'sallyport*')"
equal "nothing of ours runs" "" "$(pgrep -l sallyport)"
check "the configuration stays" test -f /etc/sallyport/sallyport.yaml
# Debian's packages and their caches are Debian's.
files=$(find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /var/lib/before -o -path /var/log -o -path /tmp \
    -o -path /etc/sallyport \) -prune -o \( -type f -o -type l \) -printf '%p %m %s\n' | sort)
equal "no file of ours is left and none of others is gone" "" \
    "$(diff <(cut -d' ' -f1,2 /var/lib/before/files) <(cut -d' ' -f1,2 <<<"$files") | grep '^[<>]' |
        grep -vE ' /(var/(lib/(dpkg|apt|systemd|ucf)|cache)|usr/(lib/x86_64-linux-gnu|share/(doc|lintian))|etc/ld.so.cache|root/\.)')"
equal "uninstalling twice is no failure" "Sallyport is not installed here
/etc/sallyport stays (--purge removes it)" "$("$repository/uninstall.sh")"
check "--purge removes the configuration" "$repository/uninstall.sh" --purge
check "and nothing is left of it" test ! -e /etc/sallyport
