#compdef klatch
# klatch completions zsh: asks the running node for rooms, people and messages.
_klatch() {
    local -a offers
    local offer words
    while IFS=$'\t' read -r offer words; do
        offers+=("${offer//:/\\:}:$words")
    done < <(klatch complete --line "$LBUFFER" 2>/dev/null)
    if (( $#offers )); then _describe klatch offers; else _files; fi
}
if [ "$funcstack[1]" = _klatch ]; then _klatch "$@"; else compdef _klatch klatch; fi
