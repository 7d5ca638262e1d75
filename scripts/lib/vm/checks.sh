# shellcheck shell=bash
# For the parts of the virtual machine test that run in the guest. Each check prints one line, PASS, FAIL or SKIP and its
# promise; what a failed one said follows, indented. scripts/test-vm counts them.
set -uo pipefail

# shellcheck disable=SC2034  # for those who source this
readonly repository=/srv/payload/repository binaries=/srv/payload/binaries here=/srv/payload/repository/scripts/lib/vm

pass() { printf 'PASS %s\n' "$1"; }
fail() {
    printf 'FAIL %s\n' "$1"
    printf '%s\n' "${2:-}" | sed -n '1,25s/^/     | /p'
}
skip() { printf 'SKIP %s: %s\n' "$1" "$2"; }

# check PROMISE COMMAND...: the command says whether the promise is kept.
check() {
    local promise=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    if ((status == 0)); then pass "$promise"; else fail "$promise" "$* (exit $status): $said"; fi
}

# equal PROMISE EXPECTED ACTUAL
equal() {
    if [[ $2 == "$3" ]]; then pass "$1"; else fail "$1" "$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$3"))"; fi
}

# eventually COMMAND...: until it succeeds, for as long as a slow machine may need.
eventually() {
    local turn
    for ((turn = 0; turn < 300; turn++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    printf 'not within a minute: %s\n' "$*"
    return 1
}

refute() { ! "$@"; }

# A command as the confined agent.
agent() { sallyport run --agent research-bot --user bot -- "$@"; }

# as_agent HOST ADDRESS: an HTTPS request of the agent; prints what curl made of it: the body, or `exit CODE`.
# 7: refused, 28: no answer, 35: the TLS handshake was refused, 56: reset.
as_agent() {
    local body status=0
    body=$(agent curl -sk --max-time "${3:-30}" --resolve "$1:443:$2" "https://$1/" 2>/dev/null) || status=$?
    if ((status == 0)); then printf '%s' "$body"; else printf 'exit %s' "$status"; fi
}

# How many packets the rules refused by themselves, because the daemon had not renewed its sign of life for two seconds.
# A processor that is emulated on a busy machine can be that late.
unattended() { nft list counter inet sallyport unattended | grep -o 'packets [0-9]*'; }

# attended COMMAND...: the command's output; once more if the rules refused something by themselves meanwhile.
attended() {
    local before said turn
    for turn in 1 2 3; do
        before=$(unattended)
        said=$("$@")
        [[ $(unattended) != "$before" ]] || break
        printf '     | the daemon was late, turn %s\n' "$turn" >&2
        eventually is_attended >&2
    done
    printf '%s' "$said"
}

# The same as somebody whom nothing confines.
as_host() { curl -sk --max-time 30 --resolve "$1:443:$2" "https://$1/"; }

# Whether curl was told no, and at once: by a reset or an alert, and not by silence.
is_refused() { [[ $1 == "exit 7" || $1 == "exit 35" || $1 == "exit 56" || $1 == "exit 16" ]]; }

# Payload bytes that the listening sink at 198.18.10.2 has had since it began.
sink_bytes() { cat /run/world/sink; }

is_attended() { nft list set inet sallyport alive | grep -q elements; }
is_unattended() { ! is_attended; }

# record FIELD=VALUE...: whether journald has such a record of ours.
record() { [[ -n $(journalctl -q -b -o json SYSLOG_IDENTIFIER=sallyport "$@" -n 1) ]]; }

main_process() { systemctl show -P MainPID sallyportd.service; }
