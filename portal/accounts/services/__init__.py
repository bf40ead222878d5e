"""What the business does with accounts: one function per verb, the only writers. The caller commits."""

from portal.accounts.email_addresses import normalise_email
from portal.accounts.services.administering import (
    deactivate_user,
    reactivate_user,
    reset_second_factor,
    set_role,
    sign_out_user,
)
from portal.accounts.services.paid_users import create_paid_user, find_user, send_set_up_link
from portal.accounts.services.profile import (
    AddressDetails,
    change_password,
    change_profile,
    list_addresses,
    remove_address,
    save_address,
)
from portal.accounts.services.proving import (
    link_owner,
    reset_password,
    set_up_account,
    verify_address,
    verify_and_sign_in,
)
from portal.accounts.services.registering import register, request_password_reset, request_verification
from portal.accounts.services.second_factor import (
    make_recovery_codes,
    pending_proof,
    pending_user,
    recovery_codes_left,
    try_code,
    turn_off,
    turn_on,
)
from portal.accounts.services.sessions import end_all_sessions, end_other_sessions, end_session, renew_session
from portal.accounts.services.signing_in import (
    begin_confirmation,
    begin_sign_in,
    confirmed_user,
    finish_sign_in,
    forget_attempt,
    sign_out,
)

__all__ = [
    "AddressDetails",
    "begin_confirmation",
    "begin_sign_in",
    "change_password",
    "change_profile",
    "confirmed_user",
    "create_paid_user",
    "deactivate_user",
    "end_all_sessions",
    "end_other_sessions",
    "end_session",
    "find_user",
    "finish_sign_in",
    "forget_attempt",
    "link_owner",
    "list_addresses",
    "make_recovery_codes",
    "normalise_email",
    "pending_proof",
    "pending_user",
    "reactivate_user",
    "recovery_codes_left",
    "register",
    "remove_address",
    "renew_session",
    "request_password_reset",
    "request_verification",
    "reset_password",
    "reset_second_factor",
    "save_address",
    "send_set_up_link",
    "set_role",
    "set_up_account",
    "sign_out",
    "sign_out_user",
    "try_code",
    "turn_off",
    "turn_on",
    "verify_address",
    "verify_and_sign_in",
]
