#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# deps.sh: install what mmh needs and this machine lacks; says what before it does.
#
#   tools/deps.sh           to build, and Python packages for `make demo`
#   tools/deps.sh check     ... and for the tests (2.5 GB: PyTorch in .venv, TensorFlow and JAX in .venv-formats)
#   tools/deps.sh bench     ... and for the benchmarks (large: torch)
#   tools/deps.sh formats   ... and the frameworks' own loaders, in .venv-formats (1.5 GB: TensorFlow)
#   tools/deps.sh platforms ... and for `make check-platforms` (Debian alone): cross compilers, qemu-user,
#                           wine; the other machines' libraries go to .deps/, not into the system
#   tools/deps.sh lint      ... and for the tests and `make lint`
#   tools/deps.sh nightly   ... and for `make nightly`: valgrind, clang
#   tools/deps.sh --check   install nothing: name what is missing for the build, exit 1 if anything
#
# Packages come from apt, dnf or brew. What a Debian release lacks is taken from a newer one into .deps/,
# without touching the system: OpenSSL 3.5 and libmceliece (from trixie), BLAKE3 (from sid; without it mmh
# builds all the same and offers SHA-256).
set -euo pipefail
cd "$(dirname "$0")/.."

# What the build needs, and the package that holds it: test | apt | dnf | brew
needs=(
  "command cc         | gcc libc6-dev      | gcc glibc-devel     | gcc"
  "command meson      | meson              | meson               | meson"
  "command ninja      | ninja-build        | ninja-build         | ninja"
  "command pkg-config | pkg-config         | pkgconf-pkg-config  | pkgconf"
  "command python3    | python3            | python3             | python3"
  "module libzstd     | libzstd-dev        | libzstd-devel       | zstd"
  "module liblzma     | liblzma-dev        | xz-devel            | xz"
  "module libisal     | libisal-dev        | isa-l-devel         | isa-l"
  "header zlib.h      | zlib1g-dev         | zlib-devel          | zlib"
  "module cmocka      | libcmocka-dev      | libcmocka-devel     | cmocka"
  "header stdio.h     | libc6-dev          | glibc-devel         | gcc"
)

# For the Python package, which a build does without.
python_needs=(
  "python Python.h    | python3-dev        | python3-devel       | python3"
)
# And for some of the modes.
lint_needs=(
  "command clang-tidy   | clang-tidy   | clang-tools-extra | llvm"
  "command clang-format | clang-format | clang-tools-extra | clang-format"
  "command cppcheck     | cppcheck     | cppcheck          | cppcheck"
)
nightly_needs=(
  "command valgrind | valgrind              | valgrind          | valgrind"
  "command clang    | clang libclang-rt-dev | clang compiler-rt | llvm"
)
case ${1:-} in
  --check | platforms) ;;
  *) needs+=("${python_needs[@]}") ;;
esac
case ${1:-} in
  lint) needs+=("${lint_needs[@]}") ;;
  nightly) needs+=("${nightly_needs[@]}") ;;
esac

manager=none
for try in apt-get dnf brew; do
  if command -v $try >/dev/null 2>&1; then manager=$try; break; fi
done

has() { # KIND NAME
  case $1 in
    command) command -v "$2" >/dev/null 2>&1 ;;
    module) command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "$2" ;;
    header) command -v cc >/dev/null 2>&1 && echo "#include <$2>" | cc -E -x c - >/dev/null 2>&1 ;;
    python) # a header of the python3 that is found first
      python3 -c "import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path('include') + '/$2'))" >/dev/null 2>&1 ;;
  esac
}

# The missing packages by this machine's names (apt's where there is no package manager), one a line.
missing() {
  local need kind name apt dnf brew
  for need in "${needs[@]}"; do
    IFS='|' read -r need apt dnf brew <<<"$need"
    read -r kind name <<<"$need"
    has "$kind" "$name" && continue
    case $manager in
      dnf) printf '%s\n' $dnf ;;
      brew) printf '%s\n' $brew ;;
      *) printf '%s\n' $apt ;;
    esac
  done | sort -u
}

has_blake3() {
  [ -e .deps/lib/libblake3.so ] || { has command pkg-config && has module libblake3; }
}

say() { echo "deps: $*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else
    echo "deps: this needs root, and there is no sudo; run as root: $*" >&2
    return 1
  fi
}

apt_updated=
apt_install() { # PACKAGE...
  if [ -z "$apt_updated" ]; then
    as_root apt-get -qq update
    apt_updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" \
    >/dev/null
}

install_packages() { # PACKAGE...
  [ $# -gt 0 ] || return 0
  case $manager in
    apt-get) say "installing with apt: $*"; apt_install "$@" ;;
    dnf) say "installing with dnf: $*"; as_root dnf -q -y install "$@" ;;
    brew) say "installing with brew: $*"; brew install -q "$@" ;;
    none)
      echo "deps: no apt, dnf or brew here; please install what Debian calls: $*" >&2
      return 1 ;;
  esac
}

debian_mirror() {
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" { print $2; exit }'
}

# Unpack packages of a suite of Debian's archive under WORK/root, for ARCHITECTURE, and leave the system
# as it is: own lists and cache, the machine's own mirror, its archive keyring. A package is the first
# one there is of NAME|NAME.
unpack_debian() { # WORK SUITE ARCHITECTURE PACKAGE...
  local work=$1 suite=$2 architecture=$3 mirror keyring options deb choice name names=()
  shift 3
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then # apt knows the labels only once it has its lists
    as_root apt-get -qq update
    mirror=$(debian_mirror)
  fi
  [ -n "$mirror" ] && [ -e "$keyring" ] || return 1
  rm -rf "$work/apt"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts" "$work/root"
  echo "deb [arch=$architecture signed-by=$keyring] $mirror $suite main" >"$work/apt/sources.list"
  : >"$work/apt/status"
  options=(-o "Dir::Etc::sourcelist=$work/apt/sources.list" -o "Dir::Etc::sourceparts=$work/apt/parts"
    -o "Dir::Etc::preferences=$work/apt/none" -o "Dir::Etc::preferencesparts=$work/apt/parts"
    -o "Dir::State::lists=$work/apt/lists" -o "Dir::State::status=$work/apt/status"
    -o "Dir::Cache=$work/apt/cache" -o Acquire::Languages=none
    -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture")
  if [ "$(id -u)" = 0 ]; then options+=(-o APT::Sandbox::User=root); fi
  apt-get -qq "${options[@]}" update || return 1
  for choice in "$@"; do
    for name in ${choice//|/ }; do
      [ -n "$(apt-cache "${options[@]}" -q madison "$name" 2>/dev/null)" ] || continue
      names+=("$name")
      break
    done
  done
  [ ${#names[@]} = $# ] || return 1
  (cd "$work/apt" && apt-get -qq "${options[@]}" download "${names[@]}" >/dev/null) || return 1
  for deb in "$work"/apt/*.deb; do dpkg-deb -x "$deb" "$work/root" || return 1; done
  rm -rf "$work/apt"
}

# BLAKE3 of Debian's sid in .deps/.
blake3_from_sid() {
  local work
  say "getting BLAKE3 for this folder alone (.deps/): libblake3-dev libblake3-0 of Debian sid"
  work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-deps.XXXXXX")
  if unpack_debian "$work" sid "$(dpkg --print-architecture)" libblake3-dev libblake3-0; then
    mkdir -p "$work/deps/include" "$work/deps/lib" "$work/deps/share"
    cp "$work"/root/usr/include/blake3*.h "$work/deps/include/"
    cp -L "$work"/root/usr/lib/*/libblake3.so.0 "$work/deps/lib/"
    ln -s libblake3.so.0 "$work/deps/lib/libblake3.so"
    cp "$work"/root/usr/share/doc/libblake3-0/copyright "$work/deps/share/blake3.copyright"
    # It must compile, link, load and hash here before anything builds on it.
    cat >"$work/try.c" <<'END'
#include <blake3.h>
#include <string.h>
int main(void)
{
    blake3_hasher hasher;
    unsigned char digest[32];
    blake3_hasher_init(&hasher);
    blake3_hasher_finalize(&hasher, digest, sizeof digest);
    return memcmp(digest, "\xaf\x13\x49\xb9", 4) != 0; /* of nothing */
}
END
    if cc -I"$work/deps/include" "$work/try.c" -o "$work/try" -L"$work/deps/lib" -lblake3 \
      -Wl,-rpath,"$work/deps/lib" && "$work/try"; then
      mkdir -p .deps
      cp -RP "$work/deps/." .deps/
    fi
  fi
  rm -rf "$work"
  [ -e .deps/lib/libblake3.so ]
}

# ---- OpenSSL >= 3.5 and Classic McEliece ----

# The system's own libcrypto will do if it is new enough.
has_system_crypto() {
  has command pkg-config && pkg-config --atleast-version=3.5 libcrypto
}

has_private_crypto() { [ -e .deps/lib/libcrypto.a ] && [ -e .deps/lib/libmceliece.a ]; }

# Both of Debian trixie in .deps/, static, so that the system's OpenSSL stays what it is.
crypto_from_trixie() {
  local work multiarch
  say "getting OpenSSL 3.5 and libmceliece for this folder alone (.deps/): of Debian trixie"
  work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-deps.XXXXXX")
  if unpack_debian "$work" trixie "$(dpkg --print-architecture)" libssl-dev libmceliece-dev; then
    multiarch=$(dirname "$(find "$work/root/usr/lib" -name libcrypto.a)")
    mkdir -p .deps/include .deps/lib .deps/share
    cp -R "$work/root/usr/include/openssl" "$work/root/usr/include/mceliece.h" .deps/include/
    cp -R "$work/root/usr/include/$(basename "$multiarch")/openssl/." .deps/include/openssl/
    cp "$work/root/usr/share/doc/libssl-dev/copyright" .deps/share/openssl.copyright
    cp "$work/root/usr/share/doc/libmceliece-dev/copyright" .deps/share/mceliece.copyright
    cp "$multiarch/libmceliece.a" "$multiarch/libcrypto.a" .deps/lib/
  fi
  rm -rf "$work"
  has_private_crypto
}

get_crypto() {
  has_system_crypto || has_private_crypto || {
    case $manager in
      apt-get)
        if dpkg --compare-versions "$(apt-cache madison libssl-dev 2>/dev/null |
          awk 'NR == 1 { print $3 }')" ge 3.5; then
          install_packages libssl-dev
        else
          crypto_from_trixie
        fi ;;
      dnf) install_packages openssl-devel ;;
      brew) install_packages openssl@3 ;;
    esac
    has_system_crypto || has_private_crypto || {
      echo "deps: OpenSSL >= 3.5 is needed, and could not be had" >&2
      return 1
    }
  }
  if has_private_crypto || echo '#include <mceliece.h>' | cc -E -x c - >/dev/null 2>&1; then return 0; fi
  case $manager in
    apt-get) install_packages libmceliece-dev && return 0 ;;
  esac
  say "libmceliece is not to be had here: the build will lack Classic McEliece"
}

get_blake3() {
  has_blake3 && return 0
  case $manager in
    apt-get)
      if [ -n "$(apt-cache -q madison libblake3-dev 2>/dev/null)" ]; then
        install_packages libblake3-dev && return 0
      fi
      blake3_from_sid && return 0 ;;
    dnf) install_packages blake3-devel && return 0 ;;
    brew) install_packages blake3 && return 0 ;;
  esac
  say "BLAKE3 is not to be had here: the build will offer SHA-256 instead"
}

# ---- other machines, for `make check-platforms` ----

# The libraries of another machine in .deps/sysroot-ARCHITECTURE: for the cross compiler its headers and
# pkg-config files, for qemu-user all that a program loads. All are of trixie (or sid), where OpenSSL is 3.5, with the
# C library of there; BLAKE3 is of sid: without it SHA-256 is left.
get_sysroot() { # ARCHITECTURE SUITE
  local architecture=$1 suite=$2 work target=.deps/sysroot-$1
  [ ! -e "$target/complete-openssl" ] || return 0
  say "getting the libraries of $architecture for this folder alone ($target): Debian $suite"
  work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-deps.XXXXXX")
  if unpack_debian "$work" "$suite" "$architecture" libc6 libgcc-s1 libzstd1 libzstd-dev liblzma5 \
    liblzma-dev zlib1g zlib1g-dev libssl3t64 libssl-dev libcmocka0 libcmocka-dev; then
    unpack_debian "$work" "$suite" "$architecture" libisal2 libisal-dev || say "no ISA-L for $architecture"
    unpack_debian "$work" "$suite" "$architecture" libmceliece1 libmceliece-dev librandombytes1 \
      librandombytes-dev libcpucycles1 || say "no libmceliece for $architecture"
    unpack_debian "$work" sid "$architecture" libblake3-0 libblake3-dev ||
      say "no BLAKE3 for $architecture: SHA-256 alone is tried there"
    # Links that name the other machine's own paths lead nowhere here.
    find "$work/root" -type l -lname '/*' | while read -r link; do
      ln -sfrn "$work/root$(readlink "$link")" "$link"
    done
    rm -rf "$target"
    mkdir -p .deps
    cp -RP "$work/root" "$target"
    [ -e "$target/lib" ] || ln -s usr/lib "$target/lib"
    touch "$target/complete-openssl"
  fi
  rm -rf "$work"
  [ -e "$target/complete-openssl" ]
}

# cmocka for mingw-w64, in .deps/sysroot-windows: Debian has it in no package, so its own source is
# compiled, one file.
get_cmocka_windows() {
  local target=.deps/sysroot-windows suite mirror keyring work options source
  [ ! -e "$target/complete" ] || return 0
  has command x86_64-w64-mingw32-gcc || return 1
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(debian_mirror)
  [ -n "$suite" ] && [ -n "$mirror" ] && [ -e "$keyring" ] || return 1
  say "compiling cmocka for Windows for this folder alone ($target): Debian $suite's source"
  work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-deps.XXXXXX")
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/source" \
    "$work/root/include" "$work/root/lib/pkgconfig"
  echo "deb-src [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
  options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Acquire::Languages=none)
  if [ "$(id -u)" = 0 ]; then options+=(-o APT::Sandbox::User=root); fi
  if apt-get -qq "${options[@]}" update &&
    (cd "$work" && apt-get -qq "${options[@]}" --download-only source cmocka >/dev/null) &&
    tar -xf "$work"/cmocka_*.orig.tar.[gx]z -C "$work/source" --strip-components=1; then
    source=$work/source
    if x86_64-w64-mingw32-gcc -O2 -I"$source/include" -D__USE_MINGW_ANSI_STDIO=1 -DHAVE_MALLOC_H \
      -DHAVE_INTTYPES_H -DHAVE_SIGNAL_H -DHAVE_STRINGS_H -DHAVE_SNPRINTF -DHAVE_VSNPRINTF \
      -DHAVE_GCC_THREAD_LOCAL_STORAGE -c "$source/src/cmocka.c" -o "$work/cmocka.o" &&
      x86_64-w64-mingw32-ar rcs "$work/root/lib/libcmocka.a" "$work/cmocka.o"; then
      cp "$source/include/cmocka.h" "$work/root/include/"
      cp "$source/COPYING" "$work/root/cmocka.copyright"
      printf '%s\n' 'prefix=${pcfiledir}/../..' 'Name: cmocka' 'Description: unit tests' \
        'Version: 1' 'Libs: -L${prefix}/lib -lcmocka' 'Cflags: -I${prefix}/include' \
        >"$work/root/lib/pkgconfig/cmocka.pc"
      rm -rf "$target"
      mkdir -p .deps
      cp -RP "$work/root" "$target"
      touch "$target/complete"
    fi
  fi
  rm -rf "$work"
  [ -e "$target/complete" ]
}

# What each part of tools/check_platforms.sh needs; what is not to be had there is skipped.
get_platforms() {
  local need name package wanted=()
  if [ "$manager" != apt-get ] || [ ! -e /etc/debian_version ]; then
    say "cross compilers and sysroots are known by Debian's names alone; what is here will be used"
    return 0
  fi
  for need in aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu,libc6-dev-arm64-cross \
    s390x-linux-gnu-gcc:gcc-s390x-linux-gnu,libc6-dev-s390x-cross qemu-aarch64:qemu-user \
    x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64 wine64:wine64,wine; do
    name=${need%%:*} package=${need#*:}
    has command "$name" || [ -e "/usr/lib/wine/$name" ] || wanted+=(${package//,/ })
  done
  install_packages "${wanted[@]}" || say "not all of them could be had"
  get_sysroot arm64 trixie || get_sysroot arm64 sid || say "no sysroot of arm64"
  get_sysroot s390x trixie || get_sysroot s390x sid || say "no sysroot of s390x"
  get_cmocka_windows || say "no cmocka for Windows"
}

# A folder of Python packages: those of tools/requirements-NAME.txt, for each NAME. A list that was
# installed once is not looked at again until it changes.
python_packages() { # FOLDER NAME...
  local venv=$1 name list stamp wanted=()
  shift
  for name in "$@"; do
    list=tools/requirements-$name.txt
    stamp=$venv/mmh-$name.txt
    [ -e "$list" ] || continue
    cmp -s "$list" "$stamp" || wanted+=("$name")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  if [ ! -x "$venv"/bin/pip ]; then
    if ! python3 -c 'import ensurepip' >/dev/null 2>&1; then
      if [ "$manager" = apt-get ]; then install_packages python3-venv || return 1; fi
    fi
    say "creating $venv for Python packages"
    rm -rf "$venv"
    python3 -m venv "$venv" || return 1
  fi
  for name in "${wanted[@]}"; do
    list=tools/requirements-$name.txt
    say "installing with pip in $venv: $(sed 's/#.*//' "$list" | xargs)"
    "$venv"/bin/pip -q --disable-pip-version-check install -r "$list" || return 1
    cp "$list" "$venv/mmh-$name.txt"
  done
}

# The same, where what cannot be had for this Python or processor leaves the others there: one after the other.
optional_packages() { # FOLDER NAME
  local package
  python_packages "$1" "$2" && return
  [ -x "$1"/bin/pip ] || { say "no Python packages: what needs them will be left out"; return 0; }
  while read -r package; do
    "$1"/bin/pip -q --disable-pip-version-check install "$package" || say "no $package here"
  done < <(sed 's/#.*//' "tools/requirements-$2.txt" | grep .)
}

case ${1:-} in
  --check)
    packages=$(missing | xargs)
    has_system_crypto || has_private_crypto || packages="$packages openssl>=3.5"
    [ -z "$packages" ] && exit 0
    echo "missing to build mmh: $packages" >&2
    echo "\`make deps\` installs them" >&2
    exit 1 ;;
  '' | check | bench | formats | platforms | lint | nightly) ;;
  *)
    sed -n '3,15p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2 ;;
esac

install_packages $(missing)
packages=$(missing | xargs)
[ -z "$packages" ] || { echo "deps: still missing: $packages" >&2; exit 1; }
get_crypto
get_blake3
if [ "${1:-}" = platforms ]; then
  get_platforms
  exit 0
fi
if [ "${1:-}" = formats ]; then
  optional_packages .venv-formats formats
  exit 0
fi
lists=${1:-}
case $lists in lint | nightly) lists=check ;; esac
case ${1:-} in '' | check | nightly)
  python_packages .venv demo-frameworks || say "not all of them could be had: what needs them will be left out" ;;
esac
python_packages .venv demo $lists ||
  { [ "${1:-}" != bench ] && say "no Python packages: what needs them will be left out"; }
case ${1:-} in
  check | nightly)
    optional_packages .venv python
    optional_packages .venv-formats formats ;;
esac
