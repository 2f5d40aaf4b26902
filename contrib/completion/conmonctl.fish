# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

# Completion of conmonctl(1) for fish.

function __conmonctl_containers
        conmonctl list --no-legend --json 2>/dev/null |
                string match -r '"container":"[0-9a-zA-Z_.-]+","name":"[0-9a-zA-Z_.-]*' |
                string replace -r '"container":"([^"]*)","name":"(.*)' '$1\n$2'
end

set -l commands list status top reopen reload upgrade metrics
complete -c conmonctl -f
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a list -d 'List monitors'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a status -d 'Show the complete status'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a top -d 'List monitors repeatedly'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a reopen -d 'Reopen log files'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a reload -d 'Reload the configuration files'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a upgrade -d 'Upgrade running monitors'
complete -c conmonctl -n "not __fish_seen_subcommand_from $commands" -a metrics -d 'Print counters for Prometheus'
complete -c conmonctl -n "__fish_seen_subcommand_from $commands" -a '(__conmonctl_containers)'
complete -c conmonctl -s a -l all -d 'All containers'
complete -c conmonctl -l exec -d 'Include exec sessions'
complete -c conmonctl -l http -d 'Answer an HTTP request on stdin'
complete -c conmonctl -s d -l interval -x -d 'Seconds between two lists'
complete -c conmonctl -s n -l iterations -x -d 'End after this number of lists'
complete -c conmonctl -s j -l json -d 'Print JSON'
complete -c conmonctl -l no-legend -d 'Omit header and sums'
complete -c conmonctl -l textfile -r -F -d 'Replace this file'
complete -c conmonctl -l version -d 'Print the version'
