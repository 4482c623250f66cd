#!/usr/bin/env bash
# Checks the files in deploy against what their readers demand: the schemas of Kubernetes and of Compose,
# a linter of container files, and the syntax of shells. That each finds a mistake is checked too.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

tools=.tools/deploying/bin
KUBERNETES_VERSIONS=(1.34 1.37)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

kubernetes() {
    local version
    for version in "${KUBERNETES_VERSIONS[@]}"; do
        "$tools/kubernetes-validate" --strict --kubernetes-version "$version" "$@" >"$folder/said" 2>&1 ||
            { cat "$folder/said" >&2; return 1; }
    done
}
compose() { "$tools/check-jsonschema" --quiet --builtin-schema vendor.compose-spec "$@"; }
container() { "$tools/hadolint" --failure-threshold warning "$@"; }

# A file with one mistake, which must be found.
finds() { # check file what to-what
    local copy
    copy=$folder/$(basename "$2")
    sed "s/$3/$4/" "$2" >"$copy"
    ! cmp -s "$2" "$copy" || fail "'$3' is not in $2"
    ! "$1" "$copy" >/dev/null 2>&1 || fail "$1 passes over '$4' in $2"
}

kubernetes deploy/kubernetes/*.yaml
compose deploy/compose/compose.yml
container deploy/container/Containerfile
for script in deploy/compose/*.sh; do bash -n "$script"; done
finds kubernetes deploy/kubernetes/deployment.yaml readOnlyRootFilesystem readonlyRootFilesystem
finds kubernetes deploy/kubernetes/poddisruptionbudget.yaml 'minAvailable: 1' 'minAvailable: [1]'
finds compose deploy/compose/compose.yml stop_grace_period stop_grace_time
finds container deploy/container/Containerfile ':nonroot' ':latest'
