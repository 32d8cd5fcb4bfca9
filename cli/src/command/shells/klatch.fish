# klatch completions fish: asks the running node for rooms, people and messages.
function __klatch_complete
    set -l offers (klatch complete --line (commandline -cp | string collect) 2>/dev/null)
    if test (count $offers) -gt 0
        printf '%s\n' $offers
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c klatch -f -a '(__klatch_complete)'
