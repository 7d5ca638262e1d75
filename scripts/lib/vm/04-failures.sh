#!/usr/bin/env bash
# The daemon killed, stopped and badly configured: nothing undecided passes, the agent is told, allowed flows go on.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

# systemd's own help would hide what happens without the daemon.
mkdir -p /run/systemd/system/sallyportd.service.d
printf '[Service]\nRestart=no\nWatchdogSec=0\n' >/run/systemd/system/sallyportd.service.d/alone.conf
systemctl daemon-reload
systemctl restart sallyportd
check "the rules are attended" eventually is_attended

# A flow that was allowed before: it asks once now, and once more on the same connection for every line that it is given.
rm -f /tmp/ask /tmp/answers
mkfifo -m 666 /tmp/ask
agent python3 "$here/session.py" 198.18.10.1 allowed.test </tmp/ask >/tmp/answers 2>&1 &
exec 8>/tmp/ask
answers() { [[ $(grep -c 'hello from allowed.test' /tmp/answers) == "$1" ]]; }
check "a flow is open" eventually answers 1

# nothing_passes WHEN: the promises of every fault.
nothing_passes() {
    equal "$1: an allowed name does not pass" yes "$(is_refused "$(as_agent allowed.test 198.18.10.1)" && echo yes)"
    equal "$1: nothing reached the sink" "$2" "$(sink_bytes)"
    equal "$1: the host itself goes on" "hello from allowed.test" "$(as_host allowed.test 198.18.10.1)"
}

before=$(sink_bytes)
kill -9 "$(main_process)"
# While the rules still queue: packets are dropped, for nobody reads the queue.
as_agent allowed.test 198.18.10.2 3 >/tmp/within 2>&1
check "killed: an undecided flow does not pass" grep -q '^exit' /tmp/within
check "killed: the rules notice" eventually is_unattended
nothing_passes killed "$before"
echo again >&8
check "killed: the flow that was allowed goes on" eventually answers 2
check "the daemon starts again" systemctl start sallyportd
check "the rules are attended again" eventually is_attended
equal "started again: an allowed name passes" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"
echo again >&8
check "started again: the flow that was allowed goes on" eventually answers 3

before=$(sink_bytes)
process=$(main_process)
kill -STOP "$process"
as_agent allowed.test 198.18.10.2 3 >/tmp/within 2>&1
check "stopped: an undecided flow does not pass" grep -q '^exit' /tmp/within
check "stopped: the rules notice" eventually is_unattended
nothing_passes stopped "$before"
kill -CONT "$process"
check "continued: the rules are attended again" eventually is_attended
equal "continued: an allowed name passes" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"
exec 8>&-
wait

# Now with systemd's help.
rm /run/systemd/system/sallyportd.service.d/alone.conf
systemctl daemon-reload
systemctl restart sallyportd
process=$(main_process)
restarted() { [[ $(main_process) != "$1" && $(main_process) != 0 ]] && systemctl is-active -q sallyportd; }
kill -9 "$process"
check "systemd starts a killed daemon again" eventually restarted "$process"
process=$(main_process)
kill -STOP "$process"
check "systemd's watchdog replaces a stopped daemon" eventually restarted "$process"
check "the rules are attended once more" eventually is_attended

# The rules deleted by other software.
nft delete table inet sallyport
check "deleted rules are put back" eventually sallyport rules check
check "the journal calls it tampering" eventually record SALLYPORT_EVENT=rules_restored
systemctl reload nftables
check "rules that a firewall's reload deleted are put back" eventually sallyport rules check
equal "after it an allowed name passes" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"

# Bad input: one line that says what, why and what to do, and closed rules.
cp /etc/sallyport/sallyport.yaml /tmp/good.yaml
echo 'uuid: 3' >>/etc/sallyport/sallyport.yaml
line=$(wc -l </etc/sallyport/sallyport.yaml)
said=$(sallyportd --check 2>&1)
equal "a wrong key: exit 2" 2 $?
check "a wrong key: one line with file, line and key" grep -q "sallyport\.yaml:$line: uuid: unknown key" <<<"$said"
equal "a wrong key: no more than one line" 1 "$(wc -l <<<"$said")"
check "a wrong key: the unit fails" refute systemctl restart sallyportd
equal "a wrong key: the unit is not tried again" failed "$(systemctl show -P SubState sallyportd)"
check "a wrong key: the rules notice" eventually is_unattended
before=$(sink_bytes)
equal "a wrong key: no agent starts" "exit 2" "$(as_agent allowed.test 198.18.10.1)"
equal "a wrong key: nothing reached the sink" "$before" "$(sink_bytes)"
equal "a wrong key: the host itself goes on" "hello from allowed.test" "$(as_host allowed.test 198.18.10.1)"
check "a wrong key: applying rules with it fails" refute sallyport rules apply
check "a wrong key: the rules are those from before" nft list table inet sallyport
cp /tmp/good.yaml /etc/sallyport/sallyport.yaml
systemctl reset-failed sallyportd
check "the right configuration starts" systemctl start sallyportd
check "the rules are attended after it" eventually is_attended

echo 'package sallyport.egress decision :=' >/etc/sallyport/policies/broken.rego
systemctl reload sallyportd
equal "a broken policy: the last good one stays in force" "hello from allowed.test" "$(attended as_agent allowed.test 198.18.10.1)"
check "a broken policy: the journal says file and line" \
    eventually bash -c "journalctl -q -b -t sallyport -t sallyportd -o cat | grep -q 'broken\.rego:2: '"
rm /etc/sallyport/policies/broken.rego
chmod 700 /etc/sallyport/policies
check "the policy is reloaded" systemctl reload sallyportd
