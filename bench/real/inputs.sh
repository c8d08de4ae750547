# What the programs of this folder need and Debian has: PropEr, luerl, the sources of Elixir. Sourced by script/bench with
# $here, the repository, and $otp, the release to measure on or nothing. Whatever cannot be had is left out.
real_inputs=$here/target/real
mkdir -p "$real_inputs/libraries"
for package in erlang-proper erlang-luerl; do
    [ -d "$real_inputs/libraries/$package" ] && continue
    part=$(mktemp -d)
    if (cd "$part" && apt-get -qq download "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb .); then
        mv "$part/usr/lib/erlang/lib" "$real_inputs/libraries/$package"
    fi
    rm -rf "$part"
done
export ERL_LIBS=$real_inputs/libraries/erlang-proper:$real_inputs/libraries/erlang-luerl

elixir_sources() { # FOLDER; Elixir as the suite has it that the release comes from
    if [ -n "$otp" ]; then
        "$here/script/otp" "$otp" apt-get -qq source --download-only --tar-only elixir-lang
    else
        # A machine's list need not name the sources; they are on the same mirror.
        . /etc/os-release
        mkdir lists
        printf 'deb-src %s %s main\n' "${SWARMRT_DEBIAN_MIRROR:-http://deb.debian.org/debian}" "$VERSION_CODENAME" >list
        local options=(-o "Dir::Etc::SourceList=$PWD/list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/lists")
        apt-get -qq "${options[@]}" update && apt-get -qq "${options[@]}" source --download-only --tar-only elixir-lang
    fi
}
export ELIXIR_SOURCES=${ELIXIR_SOURCES:-$real_inputs/elixir-${otp:-machine}}
if [ ! -d "$ELIXIR_SOURCES" ]; then
    part=$(mktemp -d)
    if (cd "$part" && elixir_sources && mkdir elixir && tar -xf ./*.orig.tar.* -C elixir --strip-components 1) >/dev/null 2>&1; then
        mv "$part/elixir" "$ELIXIR_SOURCES"
    else
        ELIXIR_SOURCES=
    fi
    rm -rf "$part"
fi
