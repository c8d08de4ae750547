# To be sourced. take_options BENCHMARK OPTIONS ARGUMENT…: sets what the options named in OPTIONS say (otp, runs, seconds),
# and rows to the other arguments.
take_options() {
    local benchmark=$1 known=$2 name
    shift 2
    rows=()
    while [ $# -gt 0 ]; do
        name=${1#--}
        if [ "$1" = "$name" ]; then
            rows+=("$1")
        elif [[ " $known " == *" $name "* ]] && [ $# -gt 1 ]; then
            printf -v "$name" %s "$2"
            shift
        else
            echo "script/bench --$benchmark: no such option, or nothing behind it: $1" >&2
            exit 2
        fi
        shift
    done
}
