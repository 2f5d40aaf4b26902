# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

# Completion of conmonctl(1) for bash.

_conmonctl_containers() {
        conmonctl list --no-legend --json 2>/dev/null |
                sed -n 's/^[[ ]*{"container":"\([0-9a-zA-Z_.-]*\)","name":"\{0,1\}\([0-9a-zA-Z_.-]*\).*/\1 \2/p'
}

_conmonctl() {
        local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' i
        for ((i = 1; i < COMP_CWORD; i++)); do
                [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }
        done
        case $previous in
        --textfile) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        -d|--interval|-n|--iterations) return ;;
        esac
        if [[ $word == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "--all --exec --help --http --interval --iterations --json
                        --no-legend --textfile --version" -- "$word")
        elif [[ -z $command ]]; then
                mapfile -t COMPREPLY < <(compgen -W "list metrics reload reopen status top upgrade" -- "$word")
        else
                mapfile -t COMPREPLY < <(compgen -W "$(_conmonctl_containers)" -- "$word")
        fi
}

complete -F _conmonctl conmonctl
