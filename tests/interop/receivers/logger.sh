#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

# An external logger: binary:///path/to/logger.sh?dir=DIRECTORY
[ "$1" = dir ] && cd "$2" || exit 1
echo "$CONTAINER_ID in $CONTAINER_NAMESPACE" >container
exec 5>&-
while IFS= read -r line; do printf "out: %s\n" "$line"; done <&3 >>out &
while IFS= read -r line; do printf "err: %s\n" "$line"; done <&4 >>err &
wait
