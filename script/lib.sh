# What the scripts share. Source it from the root of the project.
# shellcheck shell=bash

step() { printf '== %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# quietly COMMAND...: say nothing unless it fails, then all it said.
quietly() {
    local said status=0
    said=$("$@" 2>&1) || status=$?
    [ "$status" -eq 0 ] || printf '%s\n' "$said" >&2
    return "$status"
}

# apt_install PACKAGE...: install Debian packages, as root or through sudo, and start none of their services.
apt_install() {
    command -v apt-get >/dev/null || fail "please install $*: this is not Debian or Ubuntu, so it cannot be done for you"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please install as root: apt-get install $*"
        root=(sudo)
    fi
    step "apt-get install $*"
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then # the Debian way to say "start no service"; only while we install
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
        ours=yes
    fi
    local get=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    quietly "${get[@]}" update || status=$?
    [ "$status" -ne 0 ] || quietly "${get[@]}" install --yes --no-install-recommends "$@" || status=$?
    [ "$ours" = no ] || "${root[@]}" rm -f "$policy"
    [ "$status" -eq 0 ] || fail "could not install $*"
}

# find_python VERSION: print an interpreter that runs and can make environments, from the path or from pyenv.
find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1"; do
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then # a shim of pyenv may be there and not run
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}
