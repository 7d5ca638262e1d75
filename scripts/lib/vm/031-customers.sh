#!/usr/bin/env bash
# Customers: sessions of commands and processes in systemd's scopes, their ends by token, clock and restart.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

# issuer make, or issuer token NAME CUSTOMER SECONDS: an issuer's key set, or a new token in /run/customers/NAME.
issuer() {
    python3 -B - "$repository" "$@" <<'END'
import pathlib, sys, time
sys.path.insert(0, sys.argv[1] + "/Tests/EndToEnd/lab")
import customers
root = pathlib.Path("/run/customers")
if sys.argv[2] == "make":
    root.mkdir()
    customers.Issuer(root / "issuer")
else:
    name, customer, seconds = sys.argv[3:]
    issuer = customers.Issuer.of(root / "issuer")
    (root / name).write_text(issuer.token(customer, float(seconds), jti=str(time.time_ns())))
END
}
issuer make
# What the parts behind this one count on.
cp /etc/sallyport/sallyport.yaml /etc/sallyport/policies/data.yaml /run/customers/
# Where the unit's sandbox may read them.
install -m 644 /run/customers/issuer/keys.json /etc/sallyport/keys.json
cat >>/etc/sallyport/sallyport.yaml <<'END'
customers:
  issuers:
    - { issuer: "https://chat.test", audience: sallyport-lab, keys: /etc/sallyport/keys.json }
END
cat >/etc/sallyport/policies/data.yaml <<'END'
destinations:
  site: { hosts: { allowed.test: null } }
  vip: { hosts: { vip.test: null } }
agents:
  research-bot: { reach: [site], tiers: { premium: [vip] } }
  report-bot: { reach: [site] }
customers: { acme: premium, smallshop: free }
inside: ["198.18.10.0/24", "fd00:10::/64"]
END
check "the daemon takes the issuer" systemctl reload sallyportd
check "its keys are in force" eventually record SALLYPORT_EVENT=keys_loaded

# customer TOKEN COMMAND...: a command of the agent for a customer.
customer() { sallyport run --agent research-bot --user bot --customer-token "/run/customers/$1" -- "${@:2}"; }
# asks TOKEN HOST: as as_agent, for a customer.
asks() {
    local body status=0
    body=$(customer "$1" curl -sk --max-time 30 --resolve "$2:443:198.18.10.1" "https://$2/" 2>/dev/null) || status=$?
    if ((status == 0)); then printf '%s' "$body"; else printf 'exit %s' "$status"; fi
}
# fails_with WORD COMMAND...: the command fails and says so.
fails_with() {
    local said
    if said=$("${@:2}" 2>&1); then return 1; fi
    printf '%s\n' "$said"
    grep -q "$1" <<<"$said"
}
sessions() { sallyport session list --json | python3 -B -c 'import json, sys; [print(s["id"]) for s in json.load(sys.stdin)["sessions"]]'; }
no_sessions() { [[ -z $(sessions) ]]; }

issuer token gold acme 3600
issuer token plain smallshop 3600
issuer token late acme -5
equal "a customer of the tier reaches what is the tier's" "hello from vip.test" "$(attended asks gold vip.test)"
check "another customer does not" is_refused "$(asks plain vip.test)"
check "the agent for nobody does not" is_refused "$(as_agent vip.test 198.18.10.1)"
check "the journal names the customer" \
    record SALLYPORT_CUSTOMER=acme SALLYPORT_VERDICT=allow SALLYPORT_HOST=vip.test
check "the journal says that a session is missing" record SALLYPORT_REASON=no_session SALLYPORT_HOST=vip.test
check "an expired token starts nothing" fails_with expired customer late true
equal "the command is in a scope of its own" "yes" \
    "$(customer gold grep -qE '^0::/sallyport\.slice/sallyport-research\\x2dbot\.slice/run-.*\.scope$' /proc/self/cgroup && echo yes)"
check "sessions end with their commands" eventually no_sessions

# open_flow TOKEN: a connection that asks once now, and once more for every line on descriptor 8.
open_flow() {
    rm -f /tmp/ask /tmp/answers
    mkfifo -m 666 /tmp/ask
    customer "$1" python3 "$here/session.py" 198.18.10.1 vip.test </tmp/ask >/tmp/answers 2>&1 &
    flow=$!
    exec 8>/tmp/ask
}
answers() { [[ $(grep -c 'hello from vip.test' /tmp/answers) == "$1" ]]; }
is_over() { ! kill -0 "$flow" 2>/dev/null; }
# poke: asks on the flow again, where somebody still listens.
poke() { (trap '' PIPE && echo >&8) 2>/dev/null; }
# is_cut: the flow ends although it goes on asking.
is_cut() {
    poke
    is_over
}
close_flow() {
    exec 8>&-
    wait "$flow" 2>/dev/null
    eventually no_sessions >/dev/null
}

open_flow gold
check "a flow of a session is open" eventually answers 1
check "the daemon is restarted" systemctl restart sallyportd
check "the rules are attended" eventually is_attended
check "the session is still there" refute no_sessions
poke
check "and its flow goes on" eventually answers 2
id=$(sessions)
check "an operator closes it" sallyport session close "$id"
check "its flow is cut" eventually is_cut
check "the record says why" record SALLYPORT_REASON=session_closed SALLYPORT_SESSION="$id"
close_flow
check "its token is used up" fails_with "new one" customer gold true

# Whatever is done to the clock does not lengthen a session.
systemctl stop systemd-timesyncd 2>/dev/null
issuer token short acme 25
open_flow short
check "a flow of a short session is open" eventually answers 1
date -s '-1 day' >/dev/null
check "a clock that is set back by a day does not lengthen it" eventually is_cut
date -s '+1 day' >/dev/null
check "the record says that the token has expired" record SALLYPORT_REASON=token_expired SALLYPORT_HOST=vip.test
close_flow
issuer token hour acme 3600
open_flow hour
check "a flow of an hour's session is open" eventually answers 1
date -s '+2 hours' >/dev/null
check "a clock that is set past its end ends it" eventually is_cut
date -s '-2 hours' >/dev/null
close_flow

# A process that runs already gets a scope of its own.
issuer token process acme 600
rm -f /tmp/ask /tmp/answers
mkfifo -m 666 /tmp/ask
# shellcheck disable=SC2016
agent bash -c 'read -r; exec curl -sk --max-time 30 --resolve vip.test:443:198.18.10.1 https://vip.test/' \
    </tmp/ask >/tmp/answers 2>&1 &
exec 8>/tmp/ask
pid_of_agent() { pgrep -u bot -f '^bash -c read -r' | head -n 1 | grep .; }
check "a process of the agent runs" eventually pid_of_agent
pid=$(pid_of_agent)
check "its session is opened" \
    sallyport session open --agent research-bot --customer-token /run/customers/process --pid "$pid"
check "it is in a scope of its own" \
    grep -qE '^0::/sallyport\.slice/sallyport-research\\x2dbot\.slice/session-.*\.scope$' "/proc/$pid/cgroup"
echo >&8
check "and reaches what is the customer's" eventually grep -q 'hello from vip.test' /tmp/answers
exec 8>&-
check "its session ends with it" eventually no_sessions
check "a process that is not the agent's is refused" fails_with "none of agent" \
    sallyport session open --agent research-bot --customer-token /run/customers/process --pid 1

cp /run/customers/sallyport.yaml /etc/sallyport/sallyport.yaml
cp /run/customers/data.yaml /etc/sallyport/policies/data.yaml
rm -rf /run/customers /etc/sallyport/keys.json
check "the daemon goes on without customers" systemctl reload sallyportd
