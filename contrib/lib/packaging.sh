# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors
# shellcheck shell=sh

# Sourced by contrib/check: the stage --packages, which builds the packages of contrib/packaging from a
# tarball, checks them with the tools of distributions, and installs them in place of Debian's conmon.

# One check: expect WHAT COMMAND...
expect() {
        expect_what=$1
        shift
        if "$@" >"$scratch/expect.log" 2>&1; then
                grep '^unsteady: ' "$scratch/expect.log" || true
                echo "ok: $expect_what"
                echo "1 0 0" >>"$counts"
        else
                echo "---- $expect_what: failed: $*"
                tail -60 "$scratch/expect.log"
                echo "0 1 0" >>"$counts"
        fi
}

# Runs a command as an ordinary user who has a new directory in $scratch, as build machines do: by_builder DIRECTORY
# COMMAND...
by_builder() {
        builder_dir=$1
        shift
        if [ "$(id -u)" = 0 ]; then
                chown -R 1000:1000 "$scratch/$builder_dir"
                set -- setpriv --reuid=1000 --regid=1000 --clear-groups env -u XDG_RUNTIME_DIR HOME=/nonexistent "$@"
        fi
        "$@"
}

# Runs dpkg-buildpackage as that user, a second time if only tests failed, which have time limits. The log of the
# first time has what blhc looks for, the commands of the compiler:
# make_deb DIRECTORY PROFILE
make_deb() {
        set -- "$1" env DEB_BUILD_OPTIONS="parallel=$processes $2" DEB_BUILD_PROFILES="$2" dpkg-buildpackage -us -uc
        by_builder "$@" >../build.log 2>&1 && return 0
        grep -q '^dh_auto_test: error: ' ../build.log || return 1
        echo "unsteady: failed, then all tests were repeated: $(sed -n 's/^not ok [0-9]* - //p' ../build.log | tr '\n' ' ')"
        by_builder "$@" -nc >>../build.log 2>&1
}

# Builds Debian packages in a directory in $scratch, with their tests unless the profile is nocheck:
# build_deb DIRECTORY [PROFILE]
build_deb() (
        mkdir -p "$scratch/$1" &&
                tar -C "$scratch/$1" -xf "$tarball" &&
                cp "$tarball" "$scratch/$1/conmon_$version.orig.tar.xz" &&
                cd "$scratch/$1/conmon-$version" &&
                cp -r contrib/packaging/debian debian &&
                make_deb "$1" "${2-}" || {
                cat "$scratch/$1/build.log"
                grep -A 20 '^not ok' "$scratch/$1/build.log" # at the end, which is shown
                exit 1
        }
)

same_debs() {
        for deb in "$scratch"/one/*.deb; do
                cmp "$deb" "$scratch/another/directory/${deb##*/}" || return 1
        done
}

# Position-independent, with full RELRO.
is_hardened() {
        readelf -hWld "$1" >"$scratch/elf"
        grep -q 'Type: *DYN' "$scratch/elf" && grep -q GNU_RELRO "$scratch/elf" && grep -q 'BIND_NOW\|FLAGS.*NOW' "$scratch/elf"
}

hardened_debs() {
        for deb in "$scratch"/one/conmon_*.deb "$scratch"/one/conmon-tls_*.deb; do
                dpkg-deb -x "$deb" "$scratch/unpacked"
        done
        for program in "$scratch"/unpacked/usr/bin/* "$scratch"/unpacked/usr/libexec/*/*; do
                is_hardened "$program" || { echo "$program"; return 1; }
        done
}

# Creates the same package with a higher version: next_deb DEB NUMBER
next_deb() {
        rm -rf "$scratch/next"
        dpkg-deb -R "$1" "$scratch/next"
        sed -i "s/$version-[a-z0-9]*/&+$2/" "$scratch/next/DEBIAN/control"
        dpkg-deb --root-owner-group -b "$scratch/next" "$chroot/packages/next$2/${1##*/}"
}

# A Debian root directory with podman and conmon.
make_chroot() {
        mmdebstrap --variant=minbase --skip=cleanup/apt/lists --include=podman,conmon,runc,busybox-static \
                bookworm "$chroot" "deb $(debian_mirror) bookworm main"
}

try_debs() {
        mkdir -p "$chroot/packages/first" "$chroot/packages/next1" "$chroot/packages/next2"
        for deb in "$scratch"/one/conmon_*.deb "$scratch"/one/conmon-tls_*.deb; do
                cp "$deb" "$chroot/packages/first" && next_deb "$deb" 1 && next_deb "$deb" 2 || return 1
        done
        cp contrib/lib/try-packages "$chroot/packages"
        cp /etc/resolv.conf "$chroot/etc/resolv.conf"
        unshare --mount --pid --fork sh contrib/lib/in-root "$chroot" sh /packages/try-packages "$version"
}

# Defines Fedora's macros, which Debian's rpm lacks. Its scripts need bash. The integration tests ran for Debian's package.
build_rpm() (
        mkdir -p "$scratch/rpm/SOURCES"
        cp "$tarball" "$scratch/rpm/SOURCES"
        cp contrib/packaging/rpm/conmon.spec "$scratch/rpm"
        cat >"$scratch/rpm/macros" <<EOF
%_modulesloaddir /usr/lib/modules-load.d
%__os_install_post bash %{_rpmconfigdir}/brp-compress /usr; strip %{buildroot}%{_bindir}/* %{buildroot}%{_libexecdir}/conmon/*
%meson meson setup --prefix=/usr --libexecdir=libexec --sysconfdir=/etc --wrap-mode=nodownload --buildtype=plain build
%meson_build meson compile -C build --verbose
%meson_install DESTDIR=%{buildroot} meson install -C build --no-rebuild
%meson_test(-) meson test -C build --print-errorlogs --no-suite integration --num-processes $processes %{*} || meson test -C build --print-errorlogs --no-suite integration --num-processes 1 %{*}
EOF
        cd "$scratch/rpm"
        by_builder rpm rpmbuild -ba --nodeps --define "_topdir $scratch/rpm" --load "$scratch/rpm/macros" conmon.spec
)

# Installs into an empty root directory and removes again; only the database is left.
try_rpms() {
        mkdir "$scratch/rpm/root"
        set -- "$scratch"/rpm/RPMS/*/conmon-[0-9]*.rpm "$scratch"/rpm/RPMS/*/conmon-tls-[0-9]*.rpm
        rpm --root "$scratch/rpm/root" -i --nodeps --noscripts "$@" &&
                rpm --root "$scratch/rpm/root" -V --nodeps conmon conmon-tls &&
                [ -x "$scratch/rpm/root/usr/libexec/conmon/conmon-tls" ] &&
                [ -f "$scratch/rpm/root/usr/lib/modules-load.d/conmon-tls.conf" ] &&
                rpm --root "$scratch/rpm/root" -e --nodeps --noscripts conmon conmon-tls &&
                [ -z "$(find "$scratch/rpm/root" -name '*conmon*')" ]
}

stage_packages() {
        need_packages check packages roots || die "the packages need these packages"
        [ -e .git ] || die "packages are built from the tarball of a repository"
        built
        chroot=$scratch/chroot
        make_chroot >"$scratch/chroot.log" 2>&1 &
        step "Building packages from a tarball"
        quietly meson dist -C build-check --no-tests --formats xztar --allow-dirty || die "creating the tarball failed"
        tarball=$(echo "$PWD"/build-check/meson-dist/conmon-*.tar.xz)
        version=$(meson introspect build-check --projectinfo | sed 's/.*"version": *"\([^"]*\)".*/\1/')
        expect "Debian packages are built" build_deb one nocheck
        expect "Debian packages are built in another directory and pass their tests" build_deb another/directory
        expect "both builds are identical" same_debs
        expect "lintian finds nothing" lintian --fail-on error,warning,info --display-info "$scratch"/one/*.changes
        # Meson passes -pie to the linker; here only the compiler's options are checked.
        expect "blhc finds all hardening" blhc --bindnow --ignore-flag=-fPIE "$scratch/one/build.log"
        expect "programs are hardened" hardened_debs
        wait
        expect "they replace Debian's conmon, and are replaced by it" try_debs
        expect "Fedora packages are built and pass their tests" build_rpm
        expect "rpmlint finds nothing" rpmlint --strict -c contrib/packaging/rpm/rpmlint.toml contrib/packaging/rpm/conmon.spec \
                "$scratch"/rpm/RPMS/*/conmon-[0-9]*.rpm "$scratch"/rpm/RPMS/*/conmon-tls-[0-9]*.rpm
        expect "they are installed and removed" try_rpms
        expect "Alpine's APKBUILD packages what is built" sh contrib/lib/try-apkbuild "$version" \
                "$(echo "$scratch/one/conmon-$version"/obj-*)" "$scratch/alpine"
}
