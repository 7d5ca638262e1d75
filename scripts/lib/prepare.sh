# What scripts/demo and scripts/test have in common: packages and builds. Sourced; needs `set -euo pipefail`.
# shellcheck shell=bash

# Programs, and the Debian packages that bring them.
readonly -A program_packages=(
    [nft]=nftables [ip]=iproute2 [conntrack]=conntrack [nginx]=nginx-light [openssl]=openssl [curl]=curl [git]=git
    [node]=nodejs [python3]=python3 [journalctl]=systemd [strings]=binutils [unshare]=util-linux [sysctl]=procps
    [shellcheck]=shellcheck [iptables]=iptables
    [nghttp]=nghttp2-client [nghttpd]=nghttp2-server [mariadb]=mariadb-client [mariadbd]=mariadb-server [psql]=postgresql-client
    [postgres]=postgresql [ssh]=openssh-client [sshd]=openssh-server [dig]=bind9-dnsutils
    [dnsmasq]=dnsmasq-base [pip3]=python3-pip
)
# Headers that the build needs, and the packages that bring them.
readonly -A header_packages=(
    [/usr/include/libmnl/libmnl.h]=libmnl-dev [/usr/include/libnetfilter_queue/libnetfilter_queue.h]=libnetfilter-queue-dev
    [/usr/include/openssl/evp.h]=libssl-dev [/usr/include/re2/re2.h]=libre2-dev
    [/usr/bin/curl-config]=libcurl4-openssl-dev [/usr/include/nftables/libnftables.h]=libnftables-dev
)

# Prints the packages that are missing for these programs and for the build.
missing_packages() {
    local program header
    local -a postgresql=(/usr/lib/postgresql/*/bin)
    for program in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin:${postgresql[0]} command -v "$program" >/dev/null || printf '%s\n' "${program_packages[$program]}"
    done
    for header in "${!header_packages[@]}"; do
        [[ -e $header ]] || printf '%s\n' "${header_packages[$header]}"
    done
}

# Installs what is missing for these programs and for the build; says so and returns 1 where it may not.
install_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages "$@" | sort -u)
    ((${#missing[@]} > 0)) || return 0
    if [[ $EUID -ne 0 ]]; then
        printf 'missing packages: run as root, or: sudo apt-get install %s\n' "${missing[*]}" >&2
        return 1
    fi
    printf 'installing: %s\n' "${missing[*]}"
    # Nothing of it is to be started as a service of this machine: a policy of ours says so while apt-get runs.
    local policy=/usr/sbin/policy-rc.d made=false status=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=true
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null ||
        { apt-get update -q </dev/null &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null; } ||
        status=$?
    if $made; then rm -f "$policy"; fi
    return "$status"
}

# The release binaries that are shipped: static standard library, in a scratch path of their own.
build_static() {
    swift build -c release --static-swift-stdlib -Xlinker --gc-sections -Xlinker -s --scratch-path .build-static "$@"
}

# Swift is there, or a sentence that says what to do.
require_swift() {
    command -v swift >/dev/null ||
        { printf 'no swift: install Swift 6.3 (https://www.swift.org/install/linux/) and put it on the PATH\n' >&2; return 1; }
}
