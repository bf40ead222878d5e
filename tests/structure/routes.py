"""Every address of the portal, who may use it, and whose thing it shows: a new route is decided about here.

One line a route and method: method, address (converters left out), endpoint, access level, then marks:
`own` - what it shows belongs to somebody; a stranger gets 404, whatever their level, unless staff have a page for it.
`recent` - the password must have been given in the last 15 minutes.
`key` - for programs with an API key, which stands for the cookie and the token; nobody else gets past 401.
`signed` - no form posts to it: who may is decided by a signature, so there is no CSRF token.
"""

from dataclasses import dataclass

from flask import Flask

from portal.core import access
from portal.core.access import Access

TABLE = """
GET  /                                               site.home                          public
GET  /language                                       site.set_locale                    public
POST /language                                       site.set_locale                    public
GET  /packages                                       catalogue.index                    public
GET  /packages/<slug>                                catalogue.detail                   public
GET  /cart                                           cart.show                          public
GET  /cart/badge                                     cart.badge                         public
POST /cart/add                                       cart.add                           public
POST /cart/accept                                    cart.accept                        public
POST /cart/lines/<line_id>/quantity                  cart.change                        public own
POST /cart/lines/<line_id>/remove                    cart.remove                        public own
GET  /checkout                                       checkout.start                     public
POST /checkout                                       checkout.details                   public
GET  /checkout/review                                checkout.review                    public
POST /checkout/review                                checkout.place                     public
GET  /orders/<number>/return                         orders.returned                    public own
GET  /orders/<number>/cancelled                      orders.cancelled                   public own
POST /orders/<number>/pay                            orders.pay                         public own
GET  /sandbox/<reference>                            sandbox.show                       public
POST /sandbox/<reference>                            sandbox.act                        public
GET  /pay/chain/<reference>                          web3.show                          public
GET  /session/<public_id>/status                     payments.session_status            public
POST /webhooks/<provider_name>                       webhooks.receive                   public signed
POST /api/v1/webhooks/<provider_name>                webhooks.receive_always_200        public signed

GET  /pay/<public_id>                                pay.show                           public
POST /pay/<public_id>                                pay.start                          public
GET  /pay/<public_id>/return                         pay.returned                       public
GET  /pay/<public_id>/cancelled                      pay.cancelled                      public
GET  /pay/brand/<public_id>.css                      pay.brand                          public
GET  /access/<token>                                 purchases.open_link                public
GET  /purchases/<public_id>                          purchases.show                     public
GET  /purchases/<public_id>/invoice.pdf              purchases.invoice_pdf              public
GET  /api/v1/sessions                                api.list_sessions                  public key
POST /api/v1/sessions                                api.create_session                 public key
GET  /api/v1/sessions/<public_id>                    api.read_session                   public key
GET  /docs                                           docs.show                          public
GET  /docs/openapi.json                              docs.openapi_json                  public
GET  /merchant                                       merchant.overview                  verified
POST /merchant/request                               merchant.request_merchant          verified
GET  /merchant/keys                                  merchant.keys                      verified own
GET  /merchant/keys/new                              merchant.new_key                   verified own recent
POST /merchant/keys/new                              merchant.create_key                verified own recent
GET  /merchant/keys/<key_id>/rotate                  merchant.show_rotate               verified own recent
POST /merchant/keys/<key_id>/rotate                  merchant.rotate_key                verified own recent
GET  /merchant/keys/<key_id>/secret                  merchant.show_sealed               verified own recent
POST /merchant/keys/<key_id>/secret                  merchant.reveal_key                verified own recent
POST /merchant/keys/<key_id>/revoke                  merchant.revoke_key                verified own
GET  /merchant/sessions                              merchant.sessions                  verified own
GET  /merchant/sessions/new                          merchant.new_session               verified own
POST /merchant/sessions/new                          merchant.create_session            verified own
GET  /merchant/sessions/<public_id>                  merchant.session                   verified own
POST /merchant/sessions/<public_id>/revoke-link      merchant.revoke_link               verified own
GET  /merchant/invoices                              merchant.invoices                  verified own
GET  /merchant/invoices/<public_id>.pdf              merchant.invoice_pdf               verified own

GET  /login                                          accounts.log_in                    public
POST /login                                          accounts.submit_log_in             public
GET  /login/code                                     accounts.second_step               public
POST /login/code                                     accounts.submit_second_step        public
POST /logout                                         accounts.log_out                   public
GET  /register                                       accounts.register                  public
POST /register                                       accounts.submit_register           public
GET  /verify                                         accounts.verify_pending            public
GET  /verify/resend                                  accounts.verify_resend             public
POST /verify/resend                                  accounts.submit_verify_resend      public
GET  /verify/<token>                                 accounts.verify                    public
POST /verify/<token>                                 accounts.submit_verify             public
GET  /password/forgot                                accounts.forgot_password           public
POST /password/forgot                                accounts.submit_forgot_password    public
GET  /password/sent                                  accounts.forgot_password_sent      public
GET  /password/reset/<token>                         accounts.reset_password            public
POST /password/reset/<token>                         accounts.submit_reset_password     public
GET  /set-up/<token>                                 accounts.set_up                    public
POST /set-up/<token>                                 accounts.submit_set_up             public

GET  /dashboard                                      customer.dashboard                 logged_in
GET  /my/packages                                    library.index                      logged_in
GET  /my/packages/<slug>                             library.detail                     logged_in own
GET  /orders                                         orders.index                       logged_in
GET  /orders/<number>                                orders.detail                      logged_in own
GET  /invoices/<number>                              invoices.show                      logged_in own
GET  /invoices/<number>.pdf                          invoices.pdf                       logged_in own
GET  /credit-notes/<number>                         credit_notes.show                  logged_in own
GET  /credit-notes/<number>.pdf                     credit_notes.pdf                   logged_in own
GET  /account                                        accounts.profile                   logged_in
POST /account                                        accounts.submit_profile            logged_in
GET  /account/addresses                              accounts.addresses                 verified
GET  /account/addresses/<kind>                       accounts.address                   verified
POST /account/addresses/<kind>                       accounts.submit_address            verified
POST /account/addresses/<kind>/remove                accounts.remove_address            verified
GET  /account/invoices                               invoices.index                     logged_in
GET  /account/password                               accounts.change_password           logged_in
POST /account/password                               accounts.submit_change_password    logged_in
GET  /account/security                               accounts.security                  logged_in
POST /account/security/recovery-codes                accounts.make_recovery_codes       verified recent
POST /account/security/sessions/<session_id>/end     accounts.end_session               logged_in own
POST /account/security/sessions/end-all              accounts.end_all_sessions          logged_in
POST /account/security/sessions/end-others           accounts.end_other_sessions        logged_in
GET  /account/security/totp                          accounts.set_up_totp               verified recent
POST /account/security/totp                          accounts.submit_totp               verified recent
POST /account/security/totp/off                      accounts.turn_off_totp             verified recent
GET  /confirm-password                               accounts.confirm_password          logged_in
POST /confirm-password                               accounts.submit_confirm_password   logged_in

GET  /merchant/webhooks                              merchant.webhooks                  verified own
GET  /merchant/webhooks/address                      merchant.webhook_address           verified own recent
POST /merchant/webhooks/address                      merchant.set_webhook_address       verified own recent
GET  /merchant/webhooks/deliveries/<delivery_id>     merchant.webhook_delivery          verified own
POST /merchant/webhooks/deliveries/<delivery_id>/again merchant.redeliver_webhook       verified own
POST /merchant/webhooks/pause                        merchant.pause_webhooks            verified own
POST /merchant/webhooks/resume                       merchant.resume_webhooks           verified own
GET  /merchant/webhooks/secret                       merchant.webhook_secret            verified own recent
POST /merchant/webhooks/secret                       merchant.rotate_webhook_secret     verified own recent
POST /merchant/webhooks/test                         merchant.send_test_webhook         verified own

GET  /admin                                          admin.home                         staff
GET  /admin/audit                                    admin.audit                        staff
GET  /admin/catalogue                                admin.catalogue                    staff
GET  /admin/catalogue/new                            admin.new_package                  staff
POST /admin/catalogue/new                            admin.create_package               staff
GET  /admin/catalogue/<package_id>                   admin.package                      staff
POST /admin/catalogue/<package_id>                   admin.edit_package                 staff
POST /admin/catalogue/<package_id>/delete            admin.delete_package               staff
POST /admin/catalogue/<package_id>/move              admin.move_package                 staff
POST /admin/catalogue/<package_id>/publish           admin.publish_package              staff
POST /admin/catalogue/<package_id>/unpublish         admin.unpublish_package            staff
GET  /admin/customers                                admin.customers                    staff
GET  /admin/customers/<user_id>                      admin.customer                     staff
POST /admin/customers/<user_id>/deactivate           admin.deactivate_customer          staff
POST /admin/customers/<user_id>/link                 admin.send_customer_link           staff
POST /admin/customers/<user_id>/reactivate           admin.reactivate_customer          staff
GET  /admin/customers/<user_id>/role                 admin.customer_role                admin recent
POST /admin/customers/<user_id>/role                 admin.change_customer_role         admin recent
POST /admin/customers/<user_id>/second-factor        admin.reset_customer_second_factor staff
POST /admin/customers/<user_id>/sign-out             admin.sign_customer_out            staff
GET  /admin/disputes                                admin.disputes                     staff
GET  /admin/disputes/<dispute_id>                   admin.dispute                      staff
GET  /admin/disputes/<dispute_id>/decide            admin.decide_dispute               admin recent
POST /admin/disputes/<dispute_id>/decide            admin.submit_decide_dispute        admin recent
POST /admin/disputes/<dispute_id>/evidence          admin.write_evidence               staff
GET  /admin/invariants                               admin.invariant_board              staff
POST /admin/invariants/<invariant_name>/<subject_id>/repair admin.repair_invariant          staff
GET  /admin/invoices                                 admin.invoices                     staff
GET  /admin/jobs                                     admin.jobs                         staff
GET  /admin/jobs/<message_id>                        admin.job                          staff
POST /admin/jobs/<message_id>/run-again              admin.run_job_again                staff
GET  /admin/mail                                     admin.mail                         staff
GET  /admin/mail/<mail_id>                           admin.mail_message                 staff
POST /admin/mail/<mail_id>/again                     admin.send_mail_again              staff
GET  /admin/orders                                   admin.orders                       staff
GET  /admin/orders.csv                               admin.orders_csv                   staff
GET  /admin/orders/<number>                          admin.order                        staff
POST /admin/orders/<number>/ask                      admin.ask_about_order              staff
POST /admin/orders/<number>/cancel                   admin.cancel_order_now             staff
POST /admin/orders/<number>/link                     admin.send_order_link              staff
POST /admin/orders/<number>/mails/<mail_id>          admin.send_order_mail_again        staff
GET  /admin/orders/<number>/refund                  admin.refund_order                 admin recent
POST /admin/orders/<number>/refund                  admin.submit_refund_order          admin recent
GET  /admin/payments                                 admin.payments                     staff
GET  /admin/payments.csv                             admin.payments_csv                 staff
GET  /admin/payments/<public_id>                     admin.payment                      staff
POST /admin/payments/<public_id>/ask                 admin.ask_provider                 staff
GET  /admin/payments/<public_id>/by-hand             admin.payment_by_hand              admin recent
POST /admin/payments/<public_id>/by-hand             admin.decide_payment               admin recent
GET  /admin/payments/<public_id>/refund             admin.refund_payment               admin recent
POST /admin/payments/<public_id>/refund             admin.submit_refund_payment        admin recent
GET  /admin/refunds                                 admin.refunds                      staff
GET  /admin/refunds/<refund_id>                     admin.refund                       staff
POST /admin/refunds/<refund_id>/ask                 admin.ask_about_refund             admin recent
GET  /admin/refunds/<refund_id>/decide              admin.decide_refund                admin recent
POST /admin/refunds/<refund_id>/decide              admin.submit_decide_refund         admin recent
POST /admin/refunds/<refund_id>/seen                admin.see_refund                   staff
GET  /admin/reconciliation                           admin.reconciliation               staff
POST /admin/reconciliation/<provider_name>/ask       admin.ask_about_everything         staff
GET  /admin/merchants                                admin.merchants                    staff
GET  /admin/merchants/<merchant_id>                  admin.merchant                     staff
POST /admin/merchants/<merchant_id>                  admin.edit_merchant                staff
POST /admin/merchants/<merchant_id>/activate         admin.activate_merchant            staff
POST /admin/merchants/<merchant_id>/suspend          admin.suspend_merchant             staff
GET  /admin/merchants/new                            admin.new_merchant                 staff
POST /admin/merchants/new                            admin.create_merchant              staff
GET  /admin/merchants/requests/<request_id>          admin.merchant_request             staff
POST /admin/merchants/requests/<request_id>/approve  admin.approve_merchant             staff
POST /admin/merchants/requests/<request_id>/decline  admin.decline_merchant             staff
GET  /admin/search                                   admin.search                       staff
GET  /admin/webhooks                                 admin.webhooks                     staff
GET  /admin/webhooks/<event_id>                      admin.webhook                      staff
POST /admin/webhooks/<event_id>/apply                admin.apply_webhook                staff
POST /admin/webhooks/<event_id>/effects/<message_id>/run-again admin.run_event_effect_again staff
POST /admin/webhooks/<event_id>/mails/<mail_id>/again admin.send_event_mail_again         staff
POST /admin/webhooks/<event_id>/rehearse             admin.rehearse_webhook             staff
POST /admin/webhooks/<event_id>/resolve              admin.resolve_webhook              staff
POST /admin/webhooks/<event_id>/run-again            admin.run_webhook_again            staff
GET  /admin/webhooks/check                           admin.check_delivery               staff
POST /admin/webhooks/check                           admin.submit_check_delivery        staff

GET  /healthz                                        health.healthz                     public
GET  /readyz                                         health.readyz                      public
GET  /metrics                                        health.metrics_page                public
GET  /static/<filename>                              static                             public
GET  /dev/mailbox                                    devtools.mailbox                   public
GET  /dev/mailbox/<name>                             devtools.letter                    public
GET  /dev/mailbox/<name>/files/<number>              devtools.attachment                public
GET  /dev/mailbox/<name>/html                        devtools.letter_html               public
GET  /dev/ui/                                        dev_ui.show                        public
GET  /dev/ui/<page>                                  dev_ui.show                        public
GET  /dev/ui/errors/<status>                         dev_ui.error_page                  public
GET  /dev/ui/mail                                    dev_ui.mail_page                   public
GET  /dev/ui/panel/<number>                          dev_ui.panel                       public
"""


@dataclass(frozen=True, order=True)
class Route:
    """One method of one address."""

    address: str
    method: str
    endpoint: str
    level: Access
    marks: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {self.address} {self.endpoint} {' '.join([self.level, *sorted(self.marks)])}"

    @property
    def arguments(self) -> list[str]:
        """The names in its address."""
        return [part.split(">")[0] for part in self.address.split("<")[1:]]

    @property
    def is_owned(self) -> bool:
        """Whether what it shows belongs to somebody."""
        return "own" in self.marks

    def path(self, values: dict[str, str]) -> str:
        """Its address with its arguments filled in, by endpoint and name or by name alone."""
        path = self.address
        for name in self.arguments:
            path = path.replace(
                f"<{name}>", values.get(f"{self.endpoint}.{name}", values.get(name, "")) or f"no-{name}"
            )
        return path


def listed() -> list[Route]:
    """The table above."""
    rows = [line.split() for line in TABLE.splitlines() if line.strip()]
    return [Route(row[1], row[0], row[2], Access(row[3]), frozenset(row[4:])) for row in rows]


def existing(app: Flask) -> list[Route]:
    """What the application really has; ownership and signatures cannot be read off it."""
    marks = {(route.method, route.address): route.marks & {"own", "signed", "key"} for route in listed()}
    found = []
    for rule in app.url_map.iter_rules():
        # The address without converters: /orders/<number> of /orders/<string(length=5):number>.
        address = "".join(part if is_static else f"<{part}>" for is_static, part in _parts(rule.rule))
        view = app.view_functions[rule.endpoint]
        recent = {"recent"} if getattr(view, "needs_recent", False) else set()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            level = access.level_of(app, rule.endpoint) or Access.PUBLIC
            known = marks.get((method, address), frozenset())
            found.append(Route(address, method, rule.endpoint, level, known | recent))
    return found


def _parts(rule: str) -> list[tuple[bool, str]]:
    parts = []
    for number, piece in enumerate(rule.replace(">", "<").split("<")):
        is_static = number % 2 == 0
        parts.append((is_static, piece if is_static else piece.rpartition(":")[2]))
    return parts
