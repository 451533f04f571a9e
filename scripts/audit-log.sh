#!/bin/sh
# Prints the audit log of all of a team's approvals, a JSON object on each line, as `countersign replay --audit` reads it.
# GATE is the service's address, ADMIN the bearer token of one of the team's administrators. Needs curl and jq.
set -eu

# The token is handed over where no list of processes shows it.
ask() {
  printf 'header = "Authorization: Bearer %s"\n' "$ADMIN" | curl -fsS --config - --get "$@"
}

cursor=
while :; do
  page=$(ask "$GATE/api/v1/admin/promotions" -d limit=200 ${cursor:+--data-urlencode "cursor=$cursor"})
  for approval in $(printf '%s' "$page" | jq -r '.items[].id'); do
    events=$(ask "$GATE/api/v1/audit" -d "approval_id=$approval")
    printf '%s' "$events" | jq -c '.items[]'
  done
  cursor=$(printf '%s' "$page" | jq -r '.next_cursor // empty')
  [ -n "$cursor" ] || break
done
