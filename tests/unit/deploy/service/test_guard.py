from __future__ import annotations

import pytest

from blemish.deploy.service.settings import ServiceSettings
from blemish.errors import ConfigError
from service_fixtures import API, png, sent

KEY = "secret; word"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "[::2]:8000", "", "[x"])
def test_a_local_service_is_reached_by_local_names_only(serve, host):
    client = serve()
    assert client.get(f"{API}/health", headers={"host": host}).status_code == 421
    for name in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        assert client.get(f"{API}/health", headers={"host": name}).status_code == 200


def test_a_page_of_another_site_may_not_write(serve):
    client = serve()
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ):
        answer = client.post(f"{API}/inspect", files=sent(png()), headers=headers)
        assert answer.status_code == 403
    own = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post(f"{API}/inspect", files=sent(png()), headers=own).status_code == 200


def test_with_a_key_only_its_owner_comes_in(serve):
    client = serve(key=KEY)
    for headers in ({}, {"x-api-key": "other"}, {"authorization": "Bearer other"}):
        answer = client.get(f"{API}/models", headers=headers)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error", "hint"}
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        assert client.get(f"{API}/models", headers=headers).status_code == 200
    assert client.get(f"{API}/health").status_code == 200
    assert client.get(f"{API}/ready").status_code == 200
    assert client.get("/").status_code == 200
    assert client.get("/metrics").status_code == 401


@pytest.mark.parametrize("key", ["wörd", "\ufeffword", "two\nlines", "ta\tb"])
def test_a_key_that_no_header_carries_is_refused(key):
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        ServiceSettings(key=key)
    assert caught.value.hint


def test_a_browser_comes_in_by_a_cookie_that_scripts_and_other_sites_do_not_get(serve):
    client = serve(key=KEY)
    assert client.post(f"{API}/session", json={"key": "other"}).status_code == 401
    entered = client.post(f"{API}/session", json={"key": KEY})
    assert entered.status_code == 204
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert KEY not in cookie
    assert "secret" not in cookie
    assert client.get(f"{API}/models").status_code == 200
    passed_on = {"authorization": "Basic dXNlcjpwYXNz"}  # by a proxy with a door of its own
    assert client.get(f"{API}/models", headers=passed_on).status_code == 200
    assert client.get(f"{API}/models", headers={"x-api-key": "other"}).status_code == 401


def test_two_services_on_one_host_keep_their_browsers_apart(serve):
    """A browser sends all cookies of a host to each of its ports."""
    names = []
    for key in (KEY, "another"):
        entered = serve(key=key).post(f"{API}/session", json={"key": key})
        names.append(entered.headers["set-cookie"].partition("=")[0])
    assert len(set(names)) == 2


def test_a_body_that_is_declared_too_large_is_not_read(serve):
    client = serve(max_bytes=1000)
    answer = client.post(f"{API}/inspect", files=sent(b"x" * 2000))
    assert answer.status_code == 413
    for length in ("-1", "many", "1e3", "²"):
        headers = {"content-length": length.encode()}
        assert client.post(f"{API}/generate", content=b"{}", headers=headers).status_code == 413


def test_a_body_without_a_length_is_cut_off_where_it_gets_too_large(serve):
    def parts():
        for _ in range(10):
            yield b"x" * 500

    headers = {"content-type": "application/json"}
    answer = serve(max_bytes=1000).post(f"{API}/generate", content=parts(), headers=headers)
    assert answer.status_code == 413


def test_answers_say_how_browsers_may_use_them(serve):
    headers = serve().get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("DELETE", f"{API}/inspect", 405), ("POST", f"{API}/generate", 422)],
)
def test_errors_all_have_one_form(serve, method, path, status):
    answer = serve().request(method, path, json={"counts": "many"})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "hint"}


def test_a_mistake_of_the_service_is_logged_and_not_told(serve, caplog, monkeypatch):
    client = serve()

    def broken() -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(client.bench.jobs, "all", broken)
    client._transport.raise_server_exceptions = False
    answer = client.get(f"{API}/jobs")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "inner secret" in caplog.text
