#!/usr/bin/env bash
# Installs Sallyport on this Debian host: libraries, binaries, units, rules, message catalog; configuration and policies
# where there are none yet. What is up to date stays as it is, so it can be run again at any time, also as an upgrade:
# allowed flows go on, undecided ones are asked again.
#
# usage: ./install.sh [--dry-run] [--binaries DIRECTORY]
#
#   --dry-run             say what would be done, and change nothing
#   --binaries DIRECTORY  where sallyportd and sallyport are (default: .build-static/release beside this script)
#
# Exit status: 0 done, 1 failed, 2 bad usage or an unsuitable host.
set -euo pipefail
umask 022

readonly build='swift build -c release --static-swift-stdlib -Xlinker --gc-sections -Xlinker -s --scratch-path .build-static'
# What the binaries are linked with, and the programs that they run.
readonly packages=(libssl3 libre2-9 libcurl4 libnftables1 libstdc++6 nftables util-linux)
readonly manifest=/usr/share/sallyport/manifest
readonly units=(sallyport.slice sallyport-firewall.service sallyportd.service)

source_directory=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=$source_directory/.build-static/release
dry_run=false
changed=false
binary_changed=false
unit_changed=false
catalog_changed=false

usage() { sed -n '/^# usage:/,/^# Exit/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
say() { printf '%s\n' "$*"; }
fail() {
    printf 'sallyport: install: %s\n' "$1" >&2
    exit "${2:-1}"
}
# Does it, or says so.
act() {
    local what=$1
    shift
    changed=true
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
        --binaries)
            [[ -n ${2:-} ]] || fail "--binaries: a directory is missing (see --help)" 2
            binaries=$2
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "$1: unknown option (see --help)" 2 ;;
    esac
    shift
done

check_host() {
    [[ $EUID == 0 ]] || $dry_run || fail "not root: it changes the system (use sudo, or look first with --dry-run)" 2
    # shellcheck source=/dev/null
    [[ -r /etc/os-release ]] && . /etc/os-release
    [[ " ${ID:-} ${ID_LIKE:-} " == *" debian "* ]] ||
        fail "this is ${PRETTY_NAME:-an unknown system}, not Debian (install by hand: docs/install.md)" 2
    [[ -d /run/systemd/system ]] ||
        fail "systemd does not run this host (use sallyport rules apply and sallyport run by hand: docs/install.md)" 2
    local binary
    for binary in sallyportd sallyport; do
        [[ -x $binaries/$binary ]] || fail "$binaries/$binary: not there (build it: $build)" 2
    done
}

install_packages() {
    local package missing=()
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    act "install the Debian packages ${missing[*]}" apt_install "${missing[@]}"
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } ||
        fail "apt-get could not install $* (see its messages above, then run this again)"
}

is_ours() { [[ -f $manifest ]] && grep -qxF -- "$1" "$manifest"; }

# place SOURCE TARGET MODE: brings TARGET up to date by one rename; `placed` says whether it had to. A file of somebody
# else's is never replaced.
placed=false
place() {
    local from=$1 to=$2 mode=$3
    placed=false
    if [[ -e $to || -L $to ]] && ! is_ours "$to"; then
        fail "$to: exists and was not put there by this script (move it away, then run this again)"
    fi
    if [[ -f $to && $(stat -c %a "$to") == "$mode" ]] && cmp -s "$from" "$to"; then return; fi
    placed=true
    act "install $to" put "$from" "$to" "$mode"
}

put() {
    mkdir -p "$(dirname "$2")" "$(dirname "$manifest")"
    # First the name, then the file: what is interrupted can be uninstalled.
    is_ours "$2" || printf '%s\n' "$2" >>"$manifest"
    install -m "$3" -T "$1" "$2.new"
    mv -T "$2.new" "$2"
}

# keep SOURCE TARGET: a file of the operator's, made once and never touched again.
keep() {
    [[ -e $2 || -L $2 ]] || act "make $2" put_once "$1" "$2"
}

put_once() {
    mkdir -p "$(dirname "$2")"
    install -m 644 -T "$1" "$2"
}

install_files() {
    local file
    for file in sbin/sallyportd bin/sallyport; do
        place "$binaries/$(basename "$file")" "/usr/$file" 755
        if $placed; then binary_changed=true; fi
    done
    for file in "${units[@]}"; do
        place "$source_directory/systemd/$file" "/usr/lib/systemd/system/$file" 644
        if $placed; then unit_changed=true; fi
    done
    place "$source_directory/systemd/sallyport.catalog" /usr/lib/systemd/catalog/sallyport.catalog 644
    catalog_changed=$placed
    for file in README.md LICENSE nft-rules/*.nft systemd/examples/* policies/schema/*.json docs/*.md uninstall.sh; do
        [[ -f $source_directory/$file ]] || continue
        place "$source_directory/$file" "/usr/share/sallyport/$file" "$(mode_of "$file")"
    done
    keep "$source_directory/configuration/sallyport.yaml" /etc/sallyport/sallyport.yaml
    # The policies are one whole: where there are some, none is added.
    if [[ ! -d /etc/sallyport/policies ]]; then
        for file in "$source_directory"/policies/*.rego "$source_directory"/policies/data.*; do
            keep "$file" "/etc/sallyport/policies/$(basename "$file")"
        done
    fi
}

mode_of() { if [[ $1 == *.sh ]]; then echo 755; else echo 644; fi; }

check_configuration() {
    if $dry_run; then return; fi
    /usr/sbin/sallyportd --check >/dev/null ||
        fail "the configuration has errors, see above: nothing was started (correct them, then run this again)"
}

start_units() {
    local unit
    if $unit_changed; then act "reload systemd's units" systemctl daemon-reload; fi
    if $catalog_changed; then act "update journald's message catalog" journalctl --update-catalog; fi
    for unit in sallyport-firewall.service sallyportd.service; do
        systemctl is-enabled -q "$unit" 2>/dev/null || act "enable $unit" systemctl enable -q "$unit"
    done
    # Rules first: a daemon without rules would have nothing to do, agents without rules nothing in their way.
    if ! systemctl is-active -q sallyport-firewall.service; then
        act "apply the rules" start sallyport-firewall.service
    elif $binary_changed || ! rules_are_loaded; then
        act "apply the rules anew" systemctl reload sallyport-firewall.service
    fi
    if ! systemctl is-active -q sallyportd.service; then
        act "start sallyportd" start sallyportd.service
    elif $binary_changed || $unit_changed; then
        act "restart sallyportd" systemctl restart sallyportd.service
    fi
}

rules_are_loaded() { nft list table inet sallyport >/dev/null 2>&1; }

start() {
    if systemctl start "$1"; then return; fi
    systemctl status --no-pager --lines=5 "$1" >&2 || true
    fail "$1 does not start: see above, and journalctl -u $1"
}

cd "$source_directory"
shopt -s nullglob
check_host
install_packages
install_files
check_configuration
start_units
if $dry_run; then
    $changed || say "nothing would be changed"
elif $changed; then
    say "done: sallyport status tells what is enforced; agents are listed in /etc/sallyport/sallyport.yaml"
else
    say "everything is up to date"
fi
