"""An unknown name costs as much as a wrong password, so that time does not tell them apart."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password

from shield_django.auth.authorities import Passwords, Services


class Counting(PBKDF2PasswordHasher):
    algorithm = "counting"
    iterations = 10
    verified = 0

    def verify(self, password, encoded):
        type(self).verified += 1
        return super().verify(password, encoded)


@pytest.fixture(autouse=True)
def counted(settings):
    settings.PASSWORD_HASHERS = [f"{__name__}.Counting"]
    Counting.verified = 0


@pytest.mark.parametrize("make", [lambda pairs: Passwords(pairs.items()), Services])
@pytest.mark.parametrize("name", ["olga", "nobody at all"])
def test_each_failure_takes_one_hash(rf, make, name):
    authority = make({"olga": make_password("secret")})
    for attempt in range(1, 4):
        assert not authority.check(rf.post("/"), name, "wrong")
        assert Counting.verified == attempt


@pytest.mark.parametrize("name", ["olga", "pat", "nobody at all"])
def test_that_some_passwords_are_hashed_does_not_tell_whose(rf, name):
    authority = Passwords([("pat", "plain"), ("olga", make_password("secret"))])
    assert not authority.check(rf.post("/"), name, "wrong")
    assert Counting.verified == 1


def test_plain_and_hashed_passwords_stand_side_by_side(rf):
    hashed = make_password("secret")
    authority = Passwords([("pat", "plain"), ("olga", hashed)])
    for name, password, known_as in (
        ("pat", "plain", "pat"),
        ("olga", "secret", "olga"),
        ("pat", "secret", None),
        ("olga", "plain", None),
        ("olga", hashed, None),
    ):
        assert authority.check(rf.post("/"), name, password) == known_as


def test_the_password_with_which_an_unknown_name_is_compared_lets_nobody_in(rf):
    for password in ("secret", make_password("secret")):
        authority = Passwords([("olga", password)])
        for guess in ("secret", "nobody", password, ""):
            assert not authority.check(rf.post("/"), "somebody", guess)
