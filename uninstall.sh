#!/usr/bin/env bash
# Takes Sallyport off this host: daemon, rules, connection marks, cgroups, units, binaries. Nothing of anybody else's is
# touched. The configuration and the policies stay, unless --purge is given, and so do Debian's libraries.
#
# usage: uninstall.sh [--dry-run] [--stop-agents] [--purge]
#
#   --dry-run      say what would be done, and change nothing
#   --stop-agents  end what still runs confined; without this, uninstalling is refused while something does
#   --purge        remove /etc/sallyport too
#
# Exit status: 0 done, 1 failed, 2 bad usage.
set -euo pipefail

readonly manifest=/usr/share/sallyport/manifest
readonly units=(sallyportd.service sallyport-firewall.service)

dry_run=false
stop_agents=false
purge=false

usage() { sed -n '/^# usage:/,/^# Exit/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
say() { printf '%s\n' "$*"; }
fail() {
    printf 'sallyport: uninstall: %s\n' "$1" >&2
    exit "${2:-1}"
}
act() {
    local what=$1
    shift
    if $dry_run; then
        say "would $what"
    else
        say "$what"
        "$@"
    fi
}

while (($# > 0)); do
    case $1 in
        --dry-run) dry_run=true ;;
        --stop-agents) stop_agents=true ;;
        --purge) purge=true ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "$1: unknown option (see --help)" 2 ;;
    esac
    shift
done

# The slice of the configuration, and its cgroup: every dash in the name is a level.
slice() {
    local name=''
    if [[ -r /etc/sallyport/sallyport.yaml ]]; then
        name=$(sed -n 's/^slice:[[:space:]]*["'\'']\{0,1\}\([A-Za-z0-9:_.\\-]*\.slice\).*/\1/p' /etc/sallyport/sallyport.yaml)
    fi
    printf '%s' "${name:-sallyport.slice}"
}

slice_directory() {
    local name=$1 stem=${1%.slice} path='' prefix='' part mount
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    while [[ $stem == *-* ]]; do
        part=${stem%%-*}
        prefix=${prefix:+$prefix-}$part
        path+=/$prefix.slice
        stem=${stem#*-}
    done
    printf '%s%s/%s' "$mount" "$path" "$name"
}

# Processes in the slice, one number a line.
confined_processes() {
    [[ -d $1 ]] || return 0
    find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

stop_what_runs() {
    local name directory processes count
    name=$(slice)
    directory=$(slice_directory "$name")
    processes=$(confined_processes "$directory")
    if [[ -n $processes ]]; then
        count=$(wc -l <<<"$processes")
        $stop_agents || $dry_run ||
            fail "$count processes still run in $name and would no longer be confined (stop them, or use --stop-agents)"
        # One by one through their units, so that nothing restarts them.
        local unit
        for unit in $(systemctl list-units --no-legend --plain --type=service,scope | awk '{ print $1 }'); do
            if [[ $(systemctl show -P ControlGroup "$unit") == "${directory#"$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)"}"/* ]]; then
                act "stop $unit" systemctl stop "$unit"
            fi
        done
        processes=$(confined_processes "$directory")
        if [[ -n $processes ]] && ! $dry_run; then
            fail "these processes still run in $name: ${processes//$'\n'/ } (stop them, then run this again)"
        fi
    fi
}

take_down() {
    local unit
    if [[ $(systemctl show -P LoadState sallyportd.service) == loaded ]]; then
        act "stop and disable sallyportd" systemctl disable --now -q sallyportd.service
    fi
    # Rules, marks of connections, settings of connection tracking.
    if [[ -x /usr/bin/sallyport ]] && /usr/bin/sallyport rules --help >/dev/null 2>&1; then
        act "remove the rules" /usr/bin/sallyport rules remove
    elif nft list table inet sallyport >/dev/null 2>&1; then
        act "remove the rules" nft delete table inet sallyport
    fi
    if [[ $(systemctl show -P LoadState sallyport-firewall.service) == loaded ]]; then
        act "disable sallyport-firewall" systemctl disable --now -q sallyport-firewall.service
    fi
    for unit in "${units[@]}"; do
        if systemctl is-failed -q "$unit"; then act "forget the failure of $unit" systemctl reset-failed "$unit"; fi
    done
}

# Files by the manifest that install.sh wrote, then the directories that are left empty.
remove_files() {
    local file
    [[ -f $manifest ]] || return 0
    while IFS= read -r file; do
        if [[ -e $file ]]; then act "remove $file" rm -f -- "$file" "$file.new"; fi
    done <"$manifest"
    if $dry_run; then return; fi
    rm -f -- "$manifest"
    find /usr/share/sallyport -depth -type d -empty -delete
    rm -rf /run/sallyport /var/lib/sallyport
}

remove_configuration() {
    if $purge && [[ -d /etc/sallyport ]]; then
        act "remove /etc/sallyport" rm -rf /etc/sallyport
    elif [[ -d /etc/sallyport ]]; then
        say "/etc/sallyport stays (--purge removes it)"
    fi
}

# The slice is refused a manual stop while its unit is there; without the unit and without processes it goes.
remove_slice() {
    local name directory
    name=$(slice)
    directory=$(slice_directory "$name")
    act "reload systemd's units" systemctl daemon-reload
    if systemctl is-active -q "$name"; then act "stop $name" systemctl stop "$name"; fi
    if [[ -d $directory ]]; then act "remove the cgroups" find "$directory" -depth -type d -exec rmdir {} \; ; fi
    if [[ -x /usr/bin/journalctl ]]; then act "update journald's message catalog" journalctl --update-catalog; fi
}

[[ $EUID == 0 ]] || $dry_run || fail "not root: it changes the system (use sudo, or look first with --dry-run)" 2
if [[ ! -f $manifest ]] && ! nft list table inet sallyport >/dev/null 2>&1; then
    say "Sallyport is not installed here"
    if ! $dry_run; then remove_configuration; fi
    exit 0
fi
stop_what_runs
take_down
remove_files
remove_slice
remove_configuration
if ! $dry_run; then say "done"; fi
