# klatch completions bash: asks the running node for rooms, people and messages.
_klatch() {
    local offer
    COMPREPLY=()
    while IFS=$'\t' read -r offer _; do
        COMPREPLY+=("$(printf '%q' "$offer")")
    done < <(klatch complete --line "${COMP_LINE:0:COMP_POINT}" --word "$2" 2>/dev/null)
}
complete -o default -F _klatch klatch
