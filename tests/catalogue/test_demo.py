"""The demo shop is loaded on every start of `make run`, and never in production."""

import dataclasses

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.hashing import hash_password, verify_password
from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core.db import db, unit_of_work
from portal.demo import PASSWORD


def test_the_demo_has_a_shop_and_three_log_ins(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["load-demo"])
    assert result.exit_code == 0
    users = db.session.scalars(select(User).order_by(User.id)).all()
    assert [user.role.value for user in users] == ["customer", "staff", "admin"]
    for user in users:
        assert user.is_verified
        assert verify_password(PASSWORD, user.password_hash)
        assert user.email in result.output
    assert PASSWORD in result.output
    assert len(db.session.scalars(select(Package)).all()) == 7


def test_loading_it_again_changes_nothing_and_resets_no_password(app: Flask) -> None:
    run = app.test_cli_runner()
    run.invoke(args=["load-demo"])
    with unit_of_work():
        customer = db.session.scalars(select(User).order_by(User.id).limit(1)).one()
        customer.password_hash = hash_password("another 7 walnut")
    result = run.invoke(args=["load-demo"])
    assert result.exit_code == 0
    db.session.expire_all()
    assert len(db.session.scalars(select(User)).all()) == 3
    assert verify_password("another 7 walnut", customer.password_hash)
    assert result.output.count("(its password was changed)") == 1


def test_production_refuses_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "PORTAL_ENV", "production")
    monkeypatch.setitem(app.config, "SETTINGS", dataclasses.replace(app.config["SETTINGS"], portal_env="production"))
    result = app.test_cli_runner().invoke(args=["load-demo"])
    assert result.exit_code == 1
    assert "does not belong into production" in result.stderr
    assert db.session.scalars(select(User)).all() == []
