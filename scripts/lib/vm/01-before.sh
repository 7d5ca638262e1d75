#!/usr/bin/env bash
# Before Sallyport: the world, somebody else's firewall, and what the host looks like.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"

cat >/etc/systemd/system/world.service <<END
[Unit]
After=network.target
[Service]
ExecStart=$here/world
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable -q --now world.service
eventually as_host allowed.test 198.18.10.1
eventually test -s /run/world/sink
equal "the world answers before anything is installed" "hello from allowed.test" "$(as_host allowed.test 198.18.10.1)"

# Somebody else's firewall, with marks of its own, that keeps SSH open.
cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
flush ruleset
table inet others {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state invalid drop
        tcp dport 22 ct mark set ct mark | 0x00000100
    }
}
END
systemctl enable -q --now nftables.service
sysctl -q -w net.netfilter.nf_conntrack_tcp_be_liberal=1
echo net.netfilter.nf_conntrack_tcp_be_liberal=1 >/etc/sysctl.d/others.conf
# A boot finds the setting only if connection tracking is there by then.
echo nf_conntrack >/etc/modules-load.d/others.conf

mkdir -p /var/lib/before
nft -s list ruleset >/var/lib/before/ruleset
sysctl -a 2>/dev/null | grep '^net\.netfilter\.nf_conntrack_[a-z_]* ' | grep -v _count >/var/lib/before/sysctl
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /var/lib/before -o -path /var/log -o -path /tmp \) -prune \
    -o \( -type f -o -type l \) -printf '%p %m %s\n' | sort >/var/lib/before/files
