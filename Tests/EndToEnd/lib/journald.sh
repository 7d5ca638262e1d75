#!/bin/bash
# A real systemd-journald of a test's own, on a host whose first process need not be systemd.
#
#   journald.sh start NAME    starts one and prints, for `eval`:
#                               JOURNAL_SOCKET      its native socket, for `log: { socket: ... }` in the configuration
#                               JOURNAL_NAMESPACE   for `sallyport decisions --namespace` and `journalctl --namespace`
#                               JOURNAL_DIRECTORY   for `journalctl --directory`
#   journald.sh sync NAME     returns when everything that was sent before can be read
#   journald.sh kill NAME     ends the process (-9) and leaves its socket and its records, as a crash does
#   journald.sh stop NAME     ends it and removes everything that it made
#   journald.sh names NAME    prints what `start` prints, without starting anything
#
# It is an instance of journald in a journal namespace (journald.conf(5), "Journal namespaces"): its socket is
# /run/systemd/journal.NAME/socket, visible from every network namespace, its records are in memory under
# /run/log/journal, without rate limit. The host's own journal, if it has one, is not touched. NAME: letters, digits and
# dashes, one a test. Needs root and the package systemd (its programs, not its init).
set -euo pipefail

name=${2:-}
if [[ ! ${1:-} =~ ^(start|sync|kill|stop|names)$ || ! $name =~ ^[A-Za-z0-9-]{1,40}$ ]]; then
    echo "journald.sh: usage: journald.sh start|sync|kill|stop|names NAME" >&2
    exit 2
fi
program=/lib/systemd/systemd-journald
runtime=/run/systemd/journal.$name
settings=/run/systemd/journald@$name.conf.d
pidfile=/run/systemd/journald@$name.pid

names() {
    echo "JOURNAL_SOCKET=$runtime/socket"
    echo "JOURNAL_NAMESPACE=$name"
    echo "JOURNAL_DIRECTORY=/run/log/journal/$(cat /etc/machine-id).$name"
}

# The instance's process, if the one that we started still runs.
running() {
    local pid
    [[ -f $pidfile ]] && pid=$(cat "$pidfile") && [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"systemd-journald $name "* ]] &&
        echo "$pid"
}

# await CONDITION...: until the condition holds, 10 s at most.
await() {
    local tries=200
    until "$@"; do
        tries=$((tries - 1))
        ((tries > 0)) || return 1
        read -rt 0.05 <> <(:) || true
    done
}

gone() { ! running >/dev/null; }

finish() {
    local pid
    if pid=$(running); then
        kill "-$1" "$pid" 2>/dev/null || true
        await gone || { echo "journald.sh: $name: process $pid does not end" >&2; exit 1; }
    fi
    rm -f "$pidfile"
}

start() {
    [[ -x $program ]] || { echo "journald.sh: $program: not there (apt-get install systemd)" >&2; exit 2; }
    [[ -s /etc/machine-id ]] || systemd-machine-id-setup >/dev/null
    if running >/dev/null; then names; return; fi
    mkdir -p "$settings"
    # A retention above 30 s keeps an instance that nobody is connected to from ending itself.
    cat >"$settings/test.conf" <<'CONF'
[Journal]
Storage=volatile
RuntimeMaxUse=512M
RateLimitIntervalSec=0
RateLimitBurst=0
MaxRetentionSec=1month
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToWall=no
ForwardToConsole=no
CONF
    rm -f "$runtime/socket"
    setsid "$program" "$name" </dev/null >/dev/null 2>&1 &
    echo $! >"$pidfile"
    await test -S "$runtime/socket" || { echo "journald.sh: $name: no socket after 10 s" >&2; exit 1; }
    names
}

case $1 in
start) start ;;
names) names ;;
sync) journalctl --namespace="$name" --sync ;;
kill) finish KILL ;;
stop)
    finish TERM
    rm -rf "$runtime" "$settings" "/run/log/journal/$(cat /etc/machine-id).$name"
    ;;
esac
