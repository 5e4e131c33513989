# shellcheck shell=bash
# For the fetch-… tools, which source this: Debian packages that are only
# downloaded, never installed.
#
# apt works with a configuration of its own below one folder, so the machine's
# sources, lists and package state stay as they are and root is not needed.

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly attempts=3

say() { echo "${0##*/}: $*"; }

die() {
    say "$@" >&2
    exit 1
}

# A mirror that hiccups once must not fail a test run.
retry() {
    local attempt
    for ((attempt = 1; attempt <= attempts; attempt++)); do
        "$@" && return 0
        if ((attempt < attempts)); then
            say "attempt $attempt failed, trying again"
            sleep $((attempt * 2))
        fi
    done
    return 1
}

# The mirror this machine already uses.  Release information is left out on
# purpose: with it, apt lists nothing before a first "apt-get update".
machine_mirror() {
    # shellcheck disable=SC2016  # apt fills these in, not the shell
    apt-get indextargets --no-release-info \
        --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "bookworm" && $2 == "main" && !found { print $3; found = 1 }'
}

# write_apt_configuration FOLDER MIRROR SUITE...
write_apt_configuration() {
    local apt=$1 mirror=$2 suite
    shift 2
    mkdir -p "$apt"/{lists/partial,cache/archives/partial}
    for suite; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >"$apt/sources.list"
    : >"$apt/status"
    cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
APT::Architecture "$(dpkg --print-architecture)";
END
}

# private_apt_get FOLDER ARGUMENT...
private_apt_get() {
    local apt=$1
    shift
    APT_CONFIG="$apt/apt.conf" apt-get -qq "$@"
}

# apt-get update ends well although an index could not be fetched, unless it
# is told to take that seriously.
update_lists() { private_apt_get "$1" -o APT::Update::Error-Mode=any update; }

# prepare_apt FOLDER SUITE...: from now on private_apt_get works there.
prepare_apt() {
    local apt=$1 mirror
    shift
    [[ -r $keyring ]] ||
        die "$keyring is missing: apt-get install debian-archive-keyring"
    mirror=${DEBIAN_MIRROR:-$(machine_mirror)}
    [[ -n $mirror ]] ||
        die "no Debian bookworm mirror in this machine's apt sources:" \
            "name one with DEBIAN_MIRROR=http://HOST/debian"
    say "reading package lists of $* from $mirror"
    write_apt_configuration "$apt" "$mirror" "$@"
    retry update_lists "$apt" ||
        die "cannot read the package lists of $mirror:" \
            "check the network, or name another mirror with DEBIAN_MIRROR=..."
}
