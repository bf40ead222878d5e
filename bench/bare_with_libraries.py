"""The bare page again, in a process that has loaded the same libraries as the portal: what is left is the portal's own.

The stack of the product is given (README), so no way of writing it can weigh less than this.
"""

import smtplib

import argon2
import babel.dates
import bcrypt
import cryptography.hazmat.primitives.ciphers.aead
import email_validator
import flask_babel
import flask_limiter
import flask_login
import flask_sqlalchemy
import flask_wtf
import limits.storage
import mrml
import obstore.store
import prometheus_client
import psycopg
import pyotp
import redis
import rq
import segno
import sqlalchemy.orm
import stripe
import structlog
import wtforms

from bench.bare import app

LOADED = (
    argon2, babel, bcrypt, cryptography, email_validator, flask_babel, flask_limiter, flask_login, flask_sqlalchemy,
    flask_wtf, mrml, obstore, prometheus_client, psycopg, pyotp, redis, rq, segno, smtplib, sqlalchemy, stripe,
    structlog, wtforms,
)  # fmt: skip

# As Flask-Limiter does at the start; it loads every driver that is installed.
storage = limits.storage.storage_from_string("redis://127.0.0.1:9/0")
client = stripe.StripeClient("sk_test_x")

__all__ = ["LOADED", "app"]
