# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors
# shellcheck shell=sh

# Sourced by contrib/check: the stage --ports, which builds for other architectures and distributions.

# Builds for this machine with the compiler and the options that other machines and distributions use. One build
# has them all: a failure names the line, and the line tells which of them it is.
ports_variant() {
        CC=clang build build-variant -Dwerror=true -Doptimization=1 --unity=on -Djson=json-c \
                -Dc_args='-funsigned-char -fexceptions -D_FORTIFY_SOURCE=3' ||
                die "the build with clang and an unsigned char failed"
        step "Testing with clang and an unsigned char"
        run_tests build-variant variant -t 2 --num-processes $processes --suite unit --suite fuzz
        # Tests of what json-c reads: bundles, configuration and the status of monitors.
        run_tests build-variant variant-integration -t 2 --num-processes $processes integration-config_choice \
                integration-config_readme integration-conmonctl integration-log_files integration-page_examples \
                integration-runtime
}

# Debian has no GLib for musl: each file is compiled with musl's headers, without linking, also the tests that Alpine's
# package runs. Generated headers are taken from the ordinary build.
ports_musl() {
        step "Compiling with musl's headers"
        [ -e build-variant/build.ninja ] || build build-variant || die "the build failed"
        musl_kernel=$scratch/musl
        mkdir "$musl_kernel"
        ln -s /usr/include/linux /usr/include/asm-generic "$(cc -print-multiarch | sed 's,.*,/usr/include/&/asm,')" \
                /usr/include/yajl /usr/include/json-c /usr/include/gnutls /usr/include/zlib.h /usr/include/zconf.h "$musl_kernel"
        # Debian's musl is older than 1.2.5, which introduced statx(2).
        echo 'struct statx { unsigned stx_mask; struct { long long tv_sec; unsigned tv_nsec; } stx_btime; };
                int statx(int, const char *, int, unsigned, struct statx *);
                #define STATX_BTIME 0x800U' | sed 's/^ *//' >"$musl_kernel/statx.h"
        glib=$(pkg-config --cflags-only-I glib-2.0)
        musl_failed=0
        for file in $(find src tests/unit tests/fuzz tests/lib/runtime tests/quality/bench -name '*.c' ! -path src/base/heap.c \
                ! -path src/base/generate-filters.c ! -path tests/unit/seccomp-plugin.c); do
                # shellcheck disable=SC2086
                musl-gcc -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter \
                        -Wno-missing-field-initializers -D_GNU_SOURCE -DG_LOG_DOMAIN='"conmon"' \
                        -DHEAP_IN_USE=0 -DSENDMMSG_FLAGS=unsigned -DIOCTL_REQUEST=int \
                        -DGLIB_VERSION_MIN_REQUIRED=GLIB_VERSION_2_66 -DGLIB_VERSION_MAX_ALLOWED=GLIB_VERSION_2_66 \
                        -Isrc -I. -Ibuild-variant -Ibuild-variant/src -Ibuild-variant/src/base $glib -I"$musl_kernel" \
                        -I"$musl_kernel/json-c" -include "$musl_kernel/statx.h" "$file" ||
                        musl_failed=$((musl_failed + 1))
        done
        [ $musl_failed = 0 ] && echo "1 0 0" >>"$counts" || echo "0 1 0" >>"$counts"
}

# For a Debian architecture: the compiler's prefix, the library directory, and Meson's and QEMU's names.
foreign() {
        case $1 in
        i386) foreign='i686-linux-gnu i386-linux-gnu x86 little i386' ;;
        arm64) foreign='aarch64-linux-gnu aarch64-linux-gnu aarch64 little aarch64' ;;
        armhf) foreign='arm-linux-gnueabihf arm-linux-gnueabihf arm little arm' ;;
        s390x) foreign='s390x-linux-gnu s390x-linux-gnu s390x big s390x' ;;
        ppc64el) foreign='powerpc64le-linux-gnu powerpc64le-linux-gnu ppc64 little ppc64le' ;;
        riscv64) foreign='riscv64-linux-gnu riscv64-linux-gnu riscv64 little riscv64' ;;
        *) die "unknown architecture $1 in CONMON_CHECK_PORTS" ;;
        esac
        # shellcheck disable=SC2086
        set -- "$1" $foreign
        prefix=$2 multiarch=$3 family=$4 endian=$5 root=$scratch/root-$1 emulator="qemu-$6 -L $scratch/root-$1"
        # Some kernels use such pages.
        case $1 in arm64) emulator="$emulator -p 65536" ;; esac
}

# Libraries and headers for each architecture, unpacked without running maintainer scripts.
foreign_roots() {
        for processor in $1; do
                foreign "$processor"
                case $processor in riscv64) release=trixie ;; *) release=bookworm ;; esac
                mmdebstrap --variant=extract --architectures="$processor" \
                        --include=libc6-dev,libglib2.0-dev,libyajl-dev,libjson-c-dev,zlib1g-dev \
                        "$release" "$root" "deb $(debian_mirror) $release main" >"$root.log" 2>&1 || true
                # base-files, which is not there, has the first link; the second is absolute on ppc64el.
                [ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
                loader=$root/lib64/ld64.so.2
                case $(readlink "$loader") in /*) ln -sf "..$(readlink "$loader")" "$loader" ;; esac
                : >"$root.done"
        done
}

# Runs a program in QEMU, without the cases of unit tests that it can't run, which tests/expected-skips lists
# with reasons.
foreign_wrapper() {
        echo '#!/bin/sh'
        echo 'case $1 in */tests/unit/test-*)'
        sed -n 's/^unit-[^ ]*: \([^ ]*\) # by request .*/        set -- "$@" -s \1/p' tests/expected-skips
        echo 'esac'
        echo "exec $emulator \"\$@\""
}

# Runs the monitor in QEMU, which refuses prctl(PR_SET_CHILD_SUBREAPER): this does it before. The Python tests know
# it by its last line.
foreign_monitor() {
        cat <<EOF
#!/usr/bin/python3
import ctypes, os, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
emulator = '$emulator'.split()
os.execvp(emulator[0], [*emulator, '$PWD/build-$processor/src/conmon', *sys.argv[1:]])
# qemu-user
EOF
}

# A Meson cross file. Programs for i386 run without QEMU, with the interpreter and the libraries of the root
# directory, if the kernel allows it.
foreign_machine() {
        flags="'--sysroot=$root'" wrapper="exe_wrapper = '$root.run'"
        if [ "$processor" = i386 ] && "$root/lib/ld-linux.so.2" --version >/dev/null 2>&1; then
                libraries=$root/lib/$multiarch:$root/usr/lib/$multiarch
                flags="$flags, '-Wl,--dynamic-linker=$root/lib/ld-linux.so.2,--disable-new-dtags,-rpath,$libraries'"
                wrapper=''
        fi
        cat <<EOF
[binaries]
c = ['$prefix-gcc', $flags]
ar = '$prefix-ar'
strip = '$prefix-strip'
pkgconfig = '$(command -v pkg-config)'
$wrapper
[properties]
needs_exe_wrapper = $([ -n "$wrapper" ] && echo true || echo false)
sys_root = '$root'
pkg_config_libdir = ['$root/usr/lib/$multiarch/pkgconfig', '$root/usr/share/pkgconfig']
[host_machine]
system = 'linux'
cpu_family = '$family'
cpu = '$family'
endian = '$endian'
EOF
}

# Builds for one architecture, and runs unit, fuzz and some integration tests.
ports_foreign() {
        processor=$1
        foreign "$processor"
        while [ ! -e "$root.done" ]; do sleep 0.2; done
        [ -e "$root/usr/include/glib-2.0" ] || { cat "$root.log"; echo "0 1 0" >>"$counts"; return 0; }
        foreign_wrapper >"$root.run"
        chmod 755 "$root.run"
        foreign_machine >"$scratch/$processor.ini"
        build "build-$processor" --cross-file "$scratch/$processor.ini" -Dwerror=true -Doptimization=1 -Ddebug=false || {
                echo "0 1 0" >>"$counts"
                return 0
        }
        step "Testing on $processor"
        run_tests "build-$processor" "$processor" -t 3 --num-processes $processes --suite unit --suite fuzz
        # Tests of written bytes, in QEMU with this machine's fake runtime, because QEMU does not emulate executed
        # programs; without QEMU also tests of messages and upgrades, and of examples with TLS, which this build lacks.
        if grep -q '^exe_wrapper' "$scratch/$processor.ini"; then
                foreign_monitor >"$root.conmon"
                chmod 755 "$root.conmon"
                export CONMON_TEST_TIMEOUT_FACTOR=4
                again='' # it would test this machine's monitor
                run_tests build-variant "$processor-integration" -t 3 --num-processes $processes \
                        --test-args "--monitor $root.conmon" integration-k8s_file integration-log_files
        else
                run_tests "build-$processor" "$processor-integration" -t 3 --num-processes $processes \
                        integration-config_examples integration-k8s_file integration-log_files \
                        integration-page_examples integration-sync integration-upgrade
        fi
}

# Unpacks the essential packages of a Debian release and others, without running their scripts, into
# $scratch/root-RELEASE: debian_root RELEASE PACKAGE,...
debian_root() {
        mmdebstrap --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include='?essential' --include="$2" \
                "$1" "$scratch/root-$1" "deb $(debian_mirror) $1 main" >"$scratch/root-$1.log" 2>&1 || return
        # What the scripts would do, as far as builds and tests need it.
        ln -s gcc "$scratch/root-$1/usr/bin/cc"
        cp "$scratch/root-$1/usr/share/base-passwd/passwd.master" "$scratch/root-$1/etc/passwd"
        printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$(uname -n)" >"$scratch/root-$1/etc/hosts"
        echo 'hosts: files dns' >"$scratch/root-$1/etc/nsswitch.conf"
}

# Debian's oldest supported release and testing, with their compilers.
releases='bullseye testing'
release_roots() {
        for release in $releases; do
                case $release in
                testing) more=meson,universal-ctags,codespell,mandoc,git,patch,mount,strace ;;
                *) more='' ;;
                esac
                debian_root "$release" "gcc,libc6-dev,ninja-build,pkg-config,python3,$more,libglib2.0-dev,libyajl-dev,libjson-c-dev,zlib1g-dev,libseccomp-dev,libgnutls28-dev" || true
                # What packages' scripts or podman would do.
                ln -sf ctags-universal "$scratch/root-$release/usr/bin/ctags"
                mkdir -p "$scratch/root-$release/etc/containers" "$scratch/root-$release/usr/share/containers"
                : >"$scratch/root-$release.done"
        done
}

# With testing also tests that depend on tools, on Python or on GLib's messages.
ports_release_tests() {
        case $1 in
        testing)
                run_tests "build-$1" "$1" -t 3 --num-processes $processes --suite unit --suite lint
                run_tests "build-$1" "$1-integration" -t 3 --num-processes $processes integration-config_readme \
                        integration-conmonctl integration-log_files integration-messages integration-options \
                        integration-page_examples integration-start integration-terminal integration-upgrade
                ;;
        *) run_tests "build-$1" "$1" -t 3 --num-processes $processes --suite unit ;;
        esac
}

# Uses this machine's Meson if the release's is older than 0.61.
ports_release() {
        root=$scratch/root-$1
        while [ ! -e "$root.done" ]; do sleep 0.2; done
        [ -e "$root/usr/bin/ninja" ] || { cat "$root.log"; echo "0 1 0" >>"$counts"; return 0; }
        [ -e "$root/usr/bin/meson" ] || {
                mkdir -p "$root/usr/lib/python3/dist-packages"
                cp "$(command -v meson)" "$root/usr/bin"
                cp -r "$($(sed -n '1s/^#! *//p' "$(command -v meson)") -c 'import mesonbuild; print(*mesonbuild.__path__)')" "$root/usr/lib/python3/dist-packages"
        }
        as_user="unshare --mount sh contrib/lib/in-root $root"
        step "Building with Debian $1"
        rm -rf "build-$1"
        # shellcheck disable=SC2086
        quietly $as_user meson setup "build-$1" -Dwerror=true -Doptimization=1 -Ddebug=false &&
                quietly $as_user meson compile -C "build-$1" &&
                ports_release_tests "$1" ||
                echo "0 1 0" >>"$counts"
        as_user=''
}

stage_ports() {
        need_packages check analyze ports roots || die "the ports need these packages"
        processors=${CONMON_CHECK_PORTS:-i386 arm64 s390x}
        for processor in $processors; do
                foreign "$processor"
                command -v "$prefix-gcc" >/dev/null || install_packages "gcc-$prefix" || die "no compiler for $processor"
        done
        { foreign_roots "$processors"; release_roots; } &
        ports_variant
        ports_musl
        for processor in $processors; do (ports_foreign "$processor"); done
        again='' # it would run on this machine
        if [ "$(id -u)" = 0 ]; then
                for release in $releases; do ports_release "$release"; done
        else
                echo "Builds with other Debian releases need root: skipped."
        fi
        wait
}
