import base64
import json
from datetime import timedelta

import jwt
import pytest

from bookworks import clock
from serving import auth
from serving.problems import Problem
from tests.serving.fakes import SECRET, settings

SETTINGS = settings()


def claims(**changed):
    now = clock.now()
    return {"sub": "u1", "iss": "bookworks", "iat": now, "exp": now + timedelta(days=1)} | changed


def with_expiry(number):
    """A token signed with our key whose `exp` is written as `number`."""
    body = json.dumps(claims(iat=1, exp=0)).replace('"exp": 0', f'"exp": {number}')
    return jwt.PyJWS().encode(body.encode(), SECRET, algorithm="HS256")


def unsigned():
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    body = claims(iat=1, exp=9999999999)
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(body)}."


def without(name):
    return jwt.encode({k: v for k, v in claims().items() if k != name}, SECRET, algorithm="HS256")


WRONG = {
    "expired": jwt.encode(claims(exp=clock.now() - timedelta(seconds=1)), SECRET, algorithm="HS256"),
    "alg none": unsigned(),
    "another key": jwt.encode(claims(), "x" * 40, algorithm="HS256"),
    "another algorithm": jwt.encode(claims(), SECRET, algorithm="HS512"),
    "another issuer": jwt.encode(claims(iss="someone"), SECRET, algorithm="HS256"),
    "no expiry": without("exp"),
    "no subject": without("sub"),
    "no token": "rubbish",
    "an infinite end": with_expiry("1e400"),
    "more digits than Python reads": with_expiry("1" * 5000),
    "changed": auth.issue(SETTINGS, "u1")[0].replace(".", ".e", 1),
}


def test_a_token_names_its_reader():
    token, life = auth.issue(SETTINGS, "u1")
    assert auth.read(SETTINGS, token) == "u1"
    assert life == SETTINGS.jwt_minutes * 60


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_token_is_refused(kind):
    with pytest.raises(Problem) as caught:
        auth.read(SETTINGS, WRONG[kind])
    assert caught.value.status == 401
    assert "WWW-Authenticate" in caught.value.headers
    assert ("expired" in str(caught.value)) == (kind == "expired")


def test_a_reader_acts_for_itself_and_a_service_for_any():
    assert auth.Caller("u1").reader(None, "f") == "u1"
    assert auth.Caller("u1").reader("u1", "f") == "u1"
    assert auth.Caller(None).reader("u2", "f") == "u2"
    with pytest.raises(Problem) as caught:
        auth.Caller("u1").reader("u2", "body.user_id")
    assert caught.value.status == 403
    with pytest.raises(Problem) as caught:
        auth.Caller(None).reader(None, "body.user_id")
    assert caught.value.status == 403


def test_passwords_are_hashed_with_a_salt_and_checked():
    passwords = auth.Passwords()
    kept = passwords.hash("a long pass phrase")
    assert kept.startswith("$argon2id$")
    assert kept != passwords.hash("a long pass phrase")
    assert passwords.verify(kept, "a long pass phrase")
    assert not passwords.verify(kept, "another pass phrase")
    assert not passwords.verify(None, "nobody has this password")
    assert not passwords.verify("rubbish", "a long pass phrase")
