# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

# Sourced by the scripts in contrib/, in the top directory of the tree: sets up the environment and installs
# packages.

# Works without a terminal and stdin, and does not inherit variables about containers.
exec </dev/null
umask 022
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C.UTF-8 HOME="${HOME:-/root}"
unset CONTAINERS_CONF CONTAINERS_STORAGE_CONF CONTAINERS_REGISTRIES_CONF CONTAINER_HOST NOTIFY_SOCKET \
      LISTEN_PID LISTEN_FDS LISTEN_FDNAMES G_MESSAGES_DEBUG DESTDIR CFLAGS LDFLAGS

if [ -t 1 ]; then
        bold=$(printf '\033[1m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
        bold='' red='' plain=''
fi

step() {
        echo "$bold==> $*$plain"
}

die() {
        echo "$red$0: $*$plain" >&2
        exit 1
}

# Runs a command and shows its output only if it fails.
quietly() {
        quiet_log=$(mktemp)
        if "$@" >"$quiet_log" 2>&1; then
                rm -f "$quiet_log"
                return 0
        fi
        cat "$quiet_log" >&2
        rm -f "$quiet_log"
        return 1
}

is_installed() {
        case $1 in
        command:*) command -v "${1#*:}" ;;
        module:*) pkg-config --exists "${1#*:}" ;;
        header:*) echo "#include <${1#*:}>" | cc -E - ;;
        library:*) echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - "-l${1#*:}" ;;
        object:*) find /usr/lib /usr/lib64 -name "${1#*:}" | grep . ;;
        esac >/dev/null 2>&1
}

# The missing packages of a group, with the names of this distribution; "-" if it has no such package.
missing_packages() {
        grep -v -e '^#' -e '^$' contrib/lib/packages | while read -r group probe debian fedora; do
                if [ "$group" = "$1" ] && ! is_installed "$probe"; then
                        if command -v apt-get >/dev/null; then echo "$debian"; else echo "$fedora"; fi
                fi
        done | grep -v -x -e -
}

# The Debian mirror that this machine uses.
debian_mirror() {
        apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 '/debian$'
}

as_root() {
        if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
                -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@"
}

# The first attempt may fail because the package lists are missing or stale.
install_packages() {
        if command -v apt-get >/dev/null; then
                apt_install "$@" >/dev/null 2>&1 || {
                        quietly as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
                        quietly apt_install "$@"
                }
        elif command -v dnf >/dev/null; then
                quietly as_root dnf -q -y --setopt=install_weak_deps=False install "$@"
        else
                echo "neither apt-get nor dnf is installed; please install these packages: $*" >&2
                return 1
        fi
}

# Installs the missing packages of some groups; fails if some are still missing.
need_packages() {
        need_missing=''
        for group in "$@"; do
                need_missing="$need_missing $(missing_packages "$group" | tr '\n' ' ')"
        done
        # shellcheck disable=SC2086
        set -- $need_missing
        [ $# -gt 0 ] || return 0
        step "Installing $*"
        install_packages "$@" && return
        [ $# -gt 1 ] || return 1
        echo "Some packages are not available. Installing them one by one."
        need_status=0
        for package in "$@"; do
                install_packages "$package" 2>/dev/null || { echo "  not available: $package"; need_status=1; }
        done
        return $need_status
}

# Creates a new build directory and builds in it: build DIR MESON-OPTION...
build() {
        build_dir=$1
        shift
        step "Building in $build_dir"
        rm -rf "$build_dir"
        quietly meson setup "$build_dir" "$@" || return
        quietly meson compile -C "$build_dir"
}
