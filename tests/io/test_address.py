"""The one parser of addresses, and that nothing secret is ever shown of one."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgessd.errors import InputError, printable
from edgessd.io.address import Address, file_name, is_url, source_name, url_scheme
from edgessd.masking import masked, masked_properties, shown_address


@pytest.mark.parametrize(
    ("text", "scheme", "url"),
    [
        ("https://host/a.jpg", "https", True),
        ("HTTP://HOST/a", "http", True),
        (" http://host/a", "http", True),
        ("rtsp://camera", "rtsp", False),
        ("photo.jpg", None, False),
        ("C:/photos/a.jpg", None, False),
        ("a:b.jpg", None, False),
    ],
)
def test_addresses_and_paths(text: str, scheme: str | None, url: bool) -> None:
    assert url_scheme(text) == scheme
    assert is_url(text) == url


@pytest.mark.parametrize(
    ("text", "user", "password", "host", "port", "engine"),
    [
        ("rtsp://cam/live", None, None, "cam", None, "rtsp://cam/live"),
        ("rtsp://admin:p%23ss@cam:554/live", "admin", "p#ss", "cam", 554, "rtsp://admin:p%23ss@cam:554/live"),
        ("rtsp://admin:P@ssw0rd@cam/live", "admin", "P@ssw0rd", "cam", None, "rtsp://admin:P%40ssw0rd@cam/live"),
        ("rtsp://admin:p%ss@cam", "admin", "p%ss", "cam", None, "rtsp://admin:p%25ss@cam"),
        ("RTSP://admin:@cam/?x=1", "admin", "", "cam", None, "rtsp://admin:@cam/?x=1"),
        ("http://token@cam/", "token", None, "cam", None, "http://token@cam/"),
        ("http://me:sec ret@cam/", "me", "sec ret", "cam", None, "http://me:sec%20ret@cam/"),
        ("http://me:%FF%00@cam/", "me", "\udcff\0", "cam", None, "http://me:%FF%00@cam/"),
        ("http://a:b:c@cam/", "a", "b:c", "cam", None, "http://a:b%3Ac@cam/"),
        ("http://[::1]:8000/a", None, None, "::1", 8000, "http://[::1]:8000/a"),
        ("http://[fe80::1%25eth0]/a", None, None, "fe80::1%eth0", None, "http://[fe80::1%eth0]/a"),
        ("http://bücher.example/", None, None, "xn--bcher-kva.example", None, "http://xn--bcher-kva.example/"),
        (" http://cam/a b.jpg ", None, None, "cam", None, "http://cam/a b.jpg"),
        ("http://cam:/a", None, None, "cam", None, "http://cam/a"),
        ("udp://@:1234", None, None, "", 1234, "udp://:1234"),
        ("udp://239.0.0.1:1234", None, None, "239.0.0.1", 1234, "udp://239.0.0.1:1234"),
        ("mqtts://me:p%2Fw@host/a/b", "me", "p/w", "host", None, "mqtts://me:p%2Fw@host/a/b"),
    ],
)
def test_well_formed(
    text: str, user: str | None, password: str | None, host: str, port: int | None, engine: str
) -> None:
    address = Address.parse(text)
    assert (address.user, address.password, address.host, address.port) == (user, password, host, port)
    assert address.with_login == engine
    assert str(address) == address.shown == printable(source_name(text))
    assert repr(address) == f"Address({str(address)!r})"
    assert "@" not in address.without_login


ENCODE = "write the characters @ : / # ? and % as %40 %3A %2F %23 %3F and %25"


@pytest.mark.parametrize(
    ("text", "shown", "says"),
    [
        ("rtsp://admin:p#ss@cam/live", "rtsp://***@cam/live", ENCODE),
        ("rtsp://admin:p/ss@10.0.0.7:9/live", "rtsp://***@10.0.0.7:9/live", ENCODE),
        ("rtsp://admin:p?ss@cam", "rtsp://***@cam", ENCODE),
        ("rtsp://admin:9#ss@cam", "rtsp://***@cam", ENCODE),
        ("http://to#ken@cam", "http://***@cam", ENCODE),
        ("http://[::1/a", "http://[::1/a", "is no host"),
        ("http://[nonsense]/a", "http://[nonsense]/a", "is no host"),
        ("rtsp://me:pw@[::1/a", "rtsp://[::1/a", "is no host"),
        ("http://::1/a", "http://::1/a", "is no host"),
        ("http://ca m/a", "http://ca m/a", "is no host"),
        ("http://a..b/", "http://a..b/", "is no host"),
        (f"http://{'a' * 64}.b/", f"http://{'a' * 64}.b/", "is no host"),
        ("http://cam:99999/a", "http://cam:99999/a", "the port must be 1 to 65535"),
        ("http://cam:0/a", "http://cam:0/a", "the port must be 1 to 65535"),
        ("http://cam:x/a", "http://cam:x/a", "the port is no number"),
        ("http://cam:-1/a", "http://cam:-1/a", "the port is no number"),
        ("http://cam:٣/a", "http://cam:٣/a", "the port is no number"),
        ("http:///a", "http:///a", "names no host"),
        ("rtsp://me:pw@", "rtsp://", "names no host"),
        ("http://ca\0m/a", "http://ca?m/a", "control character"),
        ("http://cam/a\nb", "http://cam/a?b", "control character"),
        ("photo.jpg", "photo.jpg", "is no address"),
        ("admin:secret@cam/live", "***@cam/live", "is no address"),
    ],
)
def test_ill_formed_is_one_line_that_says_what_to_do(text: str, shown: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Address.parse(text)
    message = str(caught.value)
    assert message.startswith(f"{shown}: ") and says in message and "\n" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host/x.jpg", "http://host/x.jpg"),
        ("http://host.org/img@2x.jpg", "http://host.org/img@2x.jpg"),  # no login: two hosts stay two names
        ("http://192.168.0.2:80/img@2x.jpg", "http://192.168.0.2:80/img@2x.jpg"),
        ("http://[::1]:80/img@2x.jpg", "http://[::1]:80/img@2x.jpg"),
        ("s3://bucket/img@2x.jpg", "s3://bucket/img@2x.jpg"),
        ("s3://KEY:se/cret@bucket/a.jpg", "s3://***@bucket/a.jpg"),
        # Where a login ends is not sure: rather too little is shown.
        ("https://me:secret@host/a@b.jpg", "https://***@b.jpg"),
        ("http://me:12/34@host/x.jpg", "http://***@host/x.jpg"),
        ("rtsp://10.0.0.7/live?a=b@c", "rtsp://***@c"),
        ("http://h.de/x?Token=abc&x=1&apikey=s&y#z", "http://h.de/x?Token=***&x=1&apikey=***&***"),
        ("http://h.de/x?X-Amz-Signature=a&X-Amz-Credential=b&X-Amz-Date=1", None),
        ("http://h.de/x?%74oken=abc", "http://h.de/x?%74oken=***"),
        ("http://h.de/x?id=1;password=abc", "http://h.de/x?id=1;password=***"),
        ("http://h.de/x?loginuse=me&loginpas=a&psk=b&tok=c", "http://h.de/x?loginuse=me&loginpas=***&psk=***&tok=***"),
        ("http://h.de/x?cam[password]=a&token[]=b", "http://h.de/x?cam[password]=***&token[]=***"),
        ("http://h.de/x?pass%20word=abc&cam%5Bpw%5D=d", "http://h.de/x?pass%20word=***&cam%5Bpw%5D=***"),
        ("http://h.de/x?author=me&id=7&compass", "http://h.de/x?author=me&id=7&compass"),
        ("http://h.de/?url=http%3A%2F%2Fme%3Apw%40cam%2F", "http://h.de/?url=***"),
        ("rtsp://10.0.0.7/user=admin_password=x_channel=1?real", "rtsp://10.0.0.7/user=admin_password=***"),
    ],
)
def test_what_is_shown(text: str, shown: str | None) -> None:
    shown = shown or "http://h.de/x?X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Date=1"
    assert shown_address(text) == shown == shown_address(shown)
    assert masked(f"see {text}: it failed, x@y") == f"see {shown}: it failed, x@y"


def test_pipelines_and_commands() -> None:
    pipeline = "rtspsrc location=rtsp://me:pw@cam/live user-pw='s3 cret' ! srtsrc passphrase=s3cret ! appsink"
    shown = "rtspsrc location=rtsp://cam/live user-pw=*** ! srtsrc passphrase=*** ! appsink"
    assert masked_properties(pipeline) == shown


SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12).map(
    lambda text: f"Zq{text}qZ"
)
NAMES = ("token", "key", "apikey", "api_key", "password", "pwd", "pass", "passwd", "secret", "sig", "signature", "auth")
NAMES += ("access_token", "X-Amz-Signature", "X-Amz-Security-Token", "Authorization", "passphrase", "client_secret")


def addresses(secret: str) -> list[str]:
    """A secret in every place where addresses have one, as it is and percent-encoded."""
    encoded = quote(secret, safe="")
    query = [f"http://h.org/a.jpg?x=1&{name}={encoded}&y=2" for name in (*NAMES, *(name.upper() for name in NAMES))]
    texts = [f"{scheme}://me:{each}@10.0.0.7:80/x" for scheme in ("http", "rtsp", "mqtt") for each in (secret, encoded)]
    texts += [f"{scheme}://{each}@h.org/x" for scheme in ("https", "rtsp") for each in (encoded, encoded + ":")]
    return [*texts, *query, f"rtsp://h/user=me_password={encoded}_channel=1", f"http://h.org/?u={quote(texts[0], '')}"]


@given(SECRET)
@example("Zq#qZ")
@example("Zq/qZ")
@example("Zq?qZ")
@example("Zq@qZ")
@example("Zq@a/b@c?d#eqZ")
@example("Zq:1/qZ")
@example("Zq: 'qZ")
def test_no_secret_is_ever_shown(secret: str) -> None:
    for text in addresses(secret):
        outputs = [source_name(text), printable(source_name(text)), file_name(text)]
        try:
            address = Address.parse(text)
            outputs += [str(address), repr(address), address.origin, f"{address}"]
        except InputError as error:
            outputs.append(str(error))
        for output in outputs:
            assert "Zq" not in output and "qZ" not in output, (text, output)
        assert shown_address(outputs[0]) == outputs[0]


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for each in (text, f"http://{text}", f"rtsp://me:{text}@h/", f"http://h/{text}"):
        source_name(each), masked(each), masked_properties(each), file_name(each)
        try:
            address = Address.parse(each)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert Address.parse(address.with_login).without_login == address.without_login


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("http://h/a%20photo.jpg?x=1", "a photo.jpg"),
        ("http://me:pw@h", "picture"),
        ("http://h/..%2f..%2fx.jpg", "x.jpg"),
        ("rtsp://h/user=me_password=pw", "user_me_password____"),
        ("folder/p.png", "p.png"),
    ],
)
def test_name_of_a_file(source: str, name: str) -> None:
    assert file_name(source) == name
    assert Path(name).name == name


def test_password_from_elsewhere_is_encoded() -> None:
    assert Address.parse("rtsp://me@h/").with_password("p@w").with_login == "rtsp://me:p%40w@h/"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("spec file http:/me:s3cret@cam/a cannot be read", "spec file http:/cam/a cannot be read"),  # made a path of
        ("http:/h/a?token=s3cret is a folder", "http:/h/a?token=*** is a folder"),
        ("give mqtt://[user@]host[:port]/topic", "give mqtt://[user@]host[:port]/topic"),
        ("a password needs a user: rtsp://USER@cam", "a password needs a user: rtsp://USER@cam"),
        ("no such file: me:s3@cret@h/x.jpg (here)", "no such file: ***@h/x.jpg (here)"),
        ("a:b: mail me@host", "a:b: mail me@host"),
        ("C:/a@b.jpg: no such file", "C:/a@b.jpg: no such file"),
        ("see https://host/x, and http://me:s3cret@h/.", "see https://host/x, and http://h/."),
    ],
)
def test_errors_show_no_secret_whoever_makes_them(text: str, shown: str) -> None:
    assert str(InputError(text)) == shown
    assert str(InputError(str(InputError(text)))) == shown
