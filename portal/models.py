"""Every table, imported in one place, so that the metadata is complete for migrations and tests."""

import portal.accounts.models
import portal.catalogue.models
import portal.core.audit
import portal.core.invariants
import portal.core.mail
import portal.core.numbering
import portal.core.outbox
import portal.core.state
import portal.merchants.models
import portal.merchants.outbound.models
import portal.orders.models
import portal.payments.check_log
import portal.payments.models
import portal.payments.providers.sandbox.models
import portal.payments.providers.web3.models
import portal.payments.refund_models
import portal.payments.sales_models
import portal.production.models
import portal.quotes.models
import portal.quotes.pricing.models
import portal.sites.changes.models
import portal.sites.domains.models
import portal.sites.models
import portal.subscriptions.models  # noqa: F401  # the imports above are the purpose
