#!/usr/bin/env bash
# install.sh: refusals, dry run, first and second run, what systemd thinks of the units.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

state() { find /etc /usr /var/lib -xdev -type f -printf '%p %s %T@\n' | sort | sha256sum; }

said=$(runuser -u bot -- "$repository/install.sh" --binaries "$binaries" 2>&1)
equal "install.sh refuses to run as an ordinary user" \
    "2 sallyport: install: not root: it changes the system (use sudo, or look first with --dry-run)" "$? $said"
said=$("$repository/install.sh" --binaries /nowhere 2>&1)
check "install.sh names the build command where the binaries are missing" \
    grep -q '^sallyport: install: /nowhere/sallyportd: not there (build it: swift build -c release --static' <<<"$said"
said=$("$repository/install.sh" --wrong 2>&1)
equal "install.sh refuses an unknown option" "2 sallyport: install: --wrong: unknown option (see --help)" "$? $said"

before=$(state)
said=$("$repository/install.sh" --dry-run --binaries "$binaries" 2>&1)
equal "a dry run succeeds" 0 $?
equal "a dry run changes nothing" "$before" "$(state)"
check "a dry run says what it would do" grep -q '^would install /usr/sbin/sallyportd' <<<"$said"
check "a dry run names the missing libraries" grep -q '^would install the Debian packages .*libre2-9' <<<"$said"

touch /usr/lib/systemd/system/sallyport.slice
said=$("$repository/install.sh" --binaries "$binaries" 2>&1)
check "a file that somebody else put there is not replaced" \
    grep -q 'sallyport.slice: exists and was not put there by this script' <<<"$said"
rm /usr/lib/systemd/system/sallyport.slice

check "install.sh installs" "$repository/install.sh" --binaries "$binaries"
equal "the rules are in force" active "$(systemctl is-active sallyport-firewall)"
check "the daemon is ready" systemctl is-active sallyportd
check "rules and daemon come with every boot" systemctl is-enabled sallyport-firewall sallyportd
check "somebody else's table is still there" nft list table inet others
check "the rules are what they should be" sallyport rules check
check "the kernel's own queue statement is used" \
    bash -c "nft list table inet sallyport | grep -Eq 'queue( flags [a-z,]+)? to'"

before=$(state)
process=$(main_process)
equal "a second run has nothing to do" "everything is up to date" \
    "$("$repository/install.sh" --binaries "$binaries" 2>&1)"
equal "a second run changes nothing" "$before" "$(state)"
equal "a second run does not restart the daemon" "$process" "$(main_process)"
touch -d yesterday /etc/sallyport/sallyport.yaml
echo "# mine" >>/etc/sallyport/policies/data.yaml
rm /usr/share/sallyport/LICENSE
check "a third run repairs" "$repository/install.sh" --binaries "$binaries"
check "what was missing is back" test -f /usr/share/sallyport/LICENSE
equal "the operator's files are kept" "# mine" "$(tail -n 1 /etc/sallyport/policies/data.yaml)"

for unit in sallyport.slice sallyport-firewall.service sallyportd.service; do
    equal "systemd finds no fault with $unit" "" \
        "$(systemd-analyze verify "/usr/lib/systemd/system/$unit" 2>&1 | grep sallyport)"
done
exposure=$(systemd-analyze security --no-pager sallyportd.service | tail -n 1)
printf '     | %s\n' "$exposure"
level=${exposure##*: }
level=${level%% *}
check "the daemon is well confined itself (systemd-analyze security below 3.0)" test "${level/./}" -lt 30
check "the message catalog has our entries" bash -c "journalctl --list-catalog | grep -qi sallyport"
