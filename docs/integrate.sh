#!/usr/bin/env bash
# Integrates a merchant with a running portal, from nothing to a paid order, with curl alone.
#
#   make run                     # in another terminal
#   docs/integrate.sh            # or: docs/integrate.sh http://localhost:8000
#
# It acts as three people with the demo's log-ins: a customer who asks to become a merchant, staff who say yes, and the
# merchant's program. The last step pays on the built-in test provider's page, as the merchant's customer would.
set -euo pipefail

PORTAL="${1:-http://localhost:8000}"
CUSTOMER="${CUSTOMER:-customer@atelier-nord.example}"
STAFF="${STAFF:-staff@atelier-nord.example}"
PASSWORD="${PASSWORD:-northern light 42}"

JARS="$(mktemp -d)"
trap 'rm -rf "$JARS"' EXIT

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'integrate.sh: %s\n' "$*" >&2; exit 1; }
page() { curl -sS -b "$JARS/$1" -c "$JARS/$1" "$PORTAL$2"; }
token() { page "$1" "$2" | grep -o 'name="csrf_token" value="[^"]*"' | head -1 | cut -d'"' -f4; }
# submit WHO PAGE ADDRESS field=value...: what a browser does with a form that stands on PAGE; prints the answer's body.
submit() {
  local who="$1" from="$2" to="$3"; shift 3
  local fields=(); for field in "$@"; do fields+=(--data-urlencode "$field"); done
  curl -sS -b "$JARS/$who" -c "$JARS/$who" --data-urlencode "csrf_token=$(token "$who" "$from")" \
    ${fields[@]+"${fields[@]}"} "$PORTAL$to"
}
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -1; }

say "1. A customer asks to become a merchant"
submit customer /login /login "email=$CUSTOMER" "password=$PASSWORD" > /dev/null
submit customer /merchant /merchant/request "name=Kawiarnia" "contact_email=$CUSTOMER" "message=Coffee" > /dev/null || true

say "2. Staff say yes"
submit staff /login /login "email=$STAFF" "password=$PASSWORD" > /dev/null
REQUEST="$(page staff /admin/merchants | grep -o '/admin/merchants/requests/[0-9]*' | head -1 || true)"
if [ -n "$REQUEST" ]; then submit staff "$REQUEST" "$REQUEST/approve" > /dev/null; fi

say "3. The merchant makes a test key; it is shown once"
KEY="$(submit customer /merchant/keys/new /merchant/keys/new "label=integrate.sh" "mode=test" "expires=30" \
  "scopes=sessions:read" "scopes=sessions:write" "scopes=refunds:write" | grep -o 'sk_test_[A-Za-z0-9_-]*' | head -1 || true)"
[ -n "$KEY" ] || fail "no key was made"
echo "   ${KEY:0:8}…${KEY: -4}"

say "4. The program opens a payment; asking again with the same Idempotency-Key opens nothing new"
open_session() {
  curl -sS --fail-with-body "$PORTAL/api/v1/sessions" -H "Authorization: Bearer $KEY" \
    -H 'Content-Type: application/json' -H "Idempotency-Key: $1" \
    -d '{"amount_minor": 4900, "currency": "PLN", "description": "Order 1042", "customer_email": "buyer@example.com"}'
}
ORDER="order-$(date +%s)-$$"
SESSION="$(open_session "$ORDER")"
ID="$(printf '%s' "$SESSION" | field id)"
[ -n "$ID" ] || fail "no session: $SESSION"
[ "$SESSION" = "$(open_session "$ORDER")" ] || fail "the same key gave another answer"
echo "   $(printf '%s' "$SESSION" | field url)"

say "5. The buyer chooses a provider on the pay page, and pays there"
CHECKOUT="$(curl -sS -o /dev/null -w '%{redirect_url}' -b "$JARS/buyer" -c "$JARS/buyer" \
  --data-urlencode "csrf_token=$(token buyer "/pay/$ID")" -d provider=sandbox "$PORTAL/pay/$ID")"
[ -n "$CHECKOUT" ] || fail "the provider's page did not open"
submit buyer "${CHECKOUT#"$PORTAL"}" "${CHECKOUT#"$PORTAL"}" action=pay_card > /dev/null

say "6. The program waits until it is paid"
for _ in $(seq 60); do
  STATUS="$(curl -sS "$PORTAL/session/$ID/status" | field status)"
  [ "$STATUS" = paid ] && break
  sleep 1
done
[ "$STATUS" = paid ] || fail "still $STATUS after a minute"
curl -sS --fail-with-body "$PORTAL/api/v1/sessions/$ID" -H "Authorization: Bearer $KEY"

say "7. The program gives a part back, and sees it gone"
curl -sS --fail-with-body "$PORTAL/api/v1/sessions/$ID/refunds" -H "Authorization: Bearer $KEY" \
  -H 'Content-Type: application/json' -H "Idempotency-Key: refund-$ORDER" -d '{"amount_minor": 1000}'
for _ in $(seq 60); do
  REFUND="$(curl -sS "$PORTAL/api/v1/sessions/$ID/refunds" -H "Authorization: Bearer $KEY" | field status)"
  [ "$REFUND" = succeeded ] && break
  sleep 1
done
[ "$REFUND" = succeeded ] || fail "the refund is $REFUND after a minute"
say "Done: session $ID is paid, and 10.00 PLN went back"
