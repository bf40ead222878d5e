"""Pictures that owners sent: kept while a request is open and for ninety days after, and then gone for good."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, files
from portal.core.db import unit_of_work
from portal.sites import jobs
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.changes.services import deciding, forgetting
from portal.sites.services import keeping, ownership
from tests.sites.changes.support import (
    carry_out,
    draft_of,
    ids,
    make_active_site,
    picture,
    ready,
    reload,
)
from tests.sites.support import BY

Login = Callable[[User], FlaskClient]


def accept(change: ChangeRequest, owner: User, *, at: datetime | None = None) -> None:
    deciding.accept_pieces(
        reload(change), ids(change), draft_number=draft_of(change), by=owner.email, at=at or clock.now()
    )


def make_live(change: ChangeRequest, owner: User) -> None:
    accept(change, owner)
    carry_out()
    assert reload(change).status is ChangeStatus.LIVE


def decline(change: ChangeRequest, owner: User) -> None:
    with unit_of_work():
        deciding.decline(change.id, by=owner.email, at=clock.now())


def undo(change: ChangeRequest, owner: User) -> None:
    """Taken back before the deployment was done, so that it is never live."""
    accept(change, owner)
    deciding.undo_change(reload(change), by=owner.email, at=clock.now())
    assert reload(change).status is ChangeStatus.ACCEPTED


def tidy_up_after(days: float) -> None:
    with clock.shifted(timedelta(days=days)):
        jobs.tidy_up()


@pytest.mark.parametrize("end", [make_live, decline, undo])
def test_a_request_that_is_over_keeps_its_picture_for_ninety_days(
    app: Flask, alice: User, login: Login, end: Callable[[ChangeRequest, User], None]
) -> None:
    site = make_active_site(alice)
    change = ready(site, alice, picture=picture())
    end(change, alice)
    name = reload(change).picture_name
    tidy_up_after(89)
    assert reload(change).picture_name == name
    assert files.get(name).startswith(b"\xff\xd8")
    for _twice in range(2):
        tidy_up_after(91)
        assert reload(change).picture_name is None
        with pytest.raises(FileNotFoundError):
            files.get(name)
    browser, address = login(alice), f"/my/sites/{site.slug}/changes/1"
    page = browser.get(address).get_data(as_text=True)
    assert "The picture you sent" not in page
    assert browser.get(f"{address}/picture").status_code == 404


def test_an_open_request_keeps_its_picture(app: Flask, alice: User) -> None:
    change = ready(make_active_site(alice), alice, picture=picture())
    tidy_up_after(900)
    assert files.get(reload(change).picture_name)


def test_the_days_are_counted_from_the_end_of_the_request(app: Flask, alice: User) -> None:
    change = ready(make_active_site(alice), alice, picture=picture())
    with clock.shifted(timedelta(days=80)):
        decline(change, alice)
    tidy_up_after(160)
    assert reload(change).picture_name is not None
    tidy_up_after(171)
    assert reload(change).picture_name is None


def test_a_site_that_is_gone_takes_its_pictures_along(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice, picture=picture())
    with unit_of_work():
        ownership.deactivate(reload(site), at=clock.now())
    with unit_of_work():
        keeping.delete_site(reload(site), by=BY, at=clock.now())
    tidy_up_after(31)
    assert reload(change).picture_name is not None
    tidy_up_after(91)
    assert reload(change).picture_name is None


def test_a_crash_between_the_file_and_the_row_is_made_good(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ready(make_active_site(alice), alice, picture=picture())
    decline(change, alice)
    name = reload(change).picture_name

    def crash(_ids: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "forget_pictures", crash)
        with pytest.raises(RuntimeError):
            tidy_up_after(91)
    assert reload(change).picture_name == name
    with pytest.raises(FileNotFoundError):
        files.get(name)
    tidy_up_after(91)
    assert reload(change).picture_name is None


def test_many_are_forgotten_in_one_go(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_active_site(alice)
    find = forgetting.pictures_to_forget
    monkeypatch.setattr(forgetting, "pictures_to_forget", lambda at: find(at=at, limit=2))
    changes = []
    for number in range(3):
        changes.append(ready(site, alice, text=f"Wish {number}", picture=picture()))
        decline(changes[-1], alice)
    tidy_up_after(91)
    assert [reload(change).picture_name for change in changes] == [None] * 3
