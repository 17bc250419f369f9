#!/usr/bin/python3
"""make_corpus.py OUTDIR: writes the test corpus, always the same bytes.

OUTDIR/NNN-what.eml    messages that SMTP can carry: CRLF only, no NUL, lines of at most 998 bytes, a CRLF at the end
                       (or no byte at all); every MIME shape, healthy and broken
OUTDIR/refused/*.eml   samples that SMTP must refuse: bare CR, bare LF, NUL, too long a line

The samples checked in under oddities/ are copied too, after the generated ones.
"""
import base64
import os
import quopri
import random
import sys

RNG = random.Random(20261124)
MESSAGES = []
WORDS = """time person year way day thing man world life hand part child eye woman place work week case point government
company number group problem fact meeting invoice offer report garden winter delivery schedule ticket flight question""".split()
TEXTS = {
    "german": ("Grüße aus Köln: Äpfel, Öl und süße Früchte für Ümit.", ["utf-8", "iso-8859-1", "iso-8859-15", "windows-1252"]),
    "french": ("Où êtes-vous ? L'été à Besançon, ça va très bien, Zoë.", ["utf-8", "iso-8859-1", "windows-1252"]),
    "polish": ("Zażółć gęślą jaźń, proszę bardzo.", ["utf-8", "iso-8859-2", "windows-1250"]),
    "russian": ("Привет, как дела? Съешь же ещё этих мягких булок.", ["utf-8", "koi8-r", "windows-1251", "iso-8859-5", "cp866"]),
    "ukrainian": ("Їжак і ґава, щедрий вечір.", ["utf-8", "koi8-u", "windows-1251"]),
    "greek": ("Καλημέρα κόσμε, τι κάνεις;", ["utf-8", "iso-8859-7", "windows-1253"]),
    "hebrew": ("שלום עולם", ["utf-8", "iso-8859-8", "iso-8859-8-i", "windows-1255"]),
    "arabic": ("مرحبا بالعالم", ["utf-8", "iso-8859-6", "windows-1256"]),
    "turkish": ("İstanbul'da güneşli bir gün, ığüşöç.", ["utf-8", "iso-8859-9", "windows-1254"]),
    "japanese": ("日本語のメールです。よろしくお願いします。", ["utf-8", "iso-2022-jp", "shift_jis", "euc-jp"]),
    "chinese": ("你好，世界。今天天气很好。", ["utf-8", "gb2312", "gbk", "gb18030"]),
    "taiwanese": ("您好，世界。", ["utf-8", "big5"]),
    "korean": ("안녕하세요, 세계.", ["utf-8", "euc-kr", "iso-2022-kr", "ks_c_5601-1987"]),
    "thai": ("สวัสดีชาวโลก", ["utf-8", "tis-620"]),
    "emoji": ("Ship it 🚀👩‍👩‍👧 now 🎉", ["utf-8", "utf-7"]),
}
PYTHON_NAME = {"iso-8859-8-i": "iso-8859-8", "ks_c_5601-1987": "euc-kr"}
PEOPLE = [("Alice Example", "alice@example.org"), ("Bob", "bob@example.net"), ("Carol C. Clark", "carol@mail.example.com"),
          ("Dave", "dave+tag@example.org"), ("Erin O'Neil", "erin.oneil@example.co.uk"), ("", "noname@example.org")]


def crlf(text):
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def raw(text):
    return text if isinstance(text, bytes) else crlf(text).encode("utf-8")


def add(what, data):
    MESSAGES.append((what, raw(data)))


def mailbox(person):
    name, address = person
    if not name:
        return address
    return '"%s" <%s>' % (name, address) if any(c in name for c in ".'") else "%s <%s>" % (name, address)


def date():
    return "%s, %d %s %d %02d:%02d:%02d %s" % (
        RNG.choice("Mon Tue Wed Thu Fri Sat Sun".split()), RNG.randint(1, 28), RNG.choice("Jan Feb Mar Apr Jun Sep Nov Dec".split()),
        RNG.randint(1996, 2026), RNG.randint(0, 23), RNG.randint(0, 59), RNG.randint(0, 59),
        RNG.choice(["+0000", "+0100", "-0700", "+0530", "-0000"]))


def head(subject=None, skip=(), **more):
    """A header without the blank line.  more: further fields, _ for -."""
    sender, to = RNG.sample(PEOPLE, 2)
    fields = {
        "Date": date(), "From": mailbox(sender), "To": mailbox(to),
        "Subject": subject if subject is not None else sentence(5).capitalize(),
        "Message-ID": "<%08x.%d@example.org>" % (RNG.getrandbits(32), len(MESSAGES)), "MIME-Version": "1.0",
    }
    fields.update({k.replace("_", "-"): v for k, v in more.items()})
    return "".join("%s: %s\n" % (k, v) for k, v in fields.items() if k not in skip)


def sentence(n):
    return " ".join(RNG.choice(WORDS) for _ in range(n))


def text(lines=8):
    return "".join(sentence(RNG.randint(4, 11)).capitalize() + ".\n" for _ in range(lines))


def binary(size):
    return RNG.randbytes(size)


def b64(data):
    return base64.encodebytes(data).decode()


def part(ctype, body, **fields):
    lines = "Content-Type: %s\n" % ctype if ctype else ""
    lines += "".join("Content-%s: %s\n" % (k.replace("_", "-"), v) for k, v in fields.items())
    return lines + "\n" + body


def multi(subtype, parts, boundary=None, params="", preamble="", epilogue="\n", close=True, **fields):
    boundary = boundary or "=_%016x" % RNG.getrandbits(64)
    body = preamble
    for p in parts:
        body += "--%s\n%s\n" % (boundary, p)
    if close:
        body += "--%s--%s" % (boundary, epilogue)
    return part('multipart/%s; boundary="%s"%s' % (subtype, boundary, params), body, **fields)


def attachment(size, name="data.bin", ctype="application/octet-stream"):
    return part('%s; name="%s"' % (ctype, name), b64(binary(size)), Transfer_Encoding="base64",
                Disposition='attachment; filename="%s"' % name)


def plain(body=None, charset="us-ascii"):
    return part("text/plain; charset=%s" % charset, body or text())


def html(body=None):
    return part("text/html; charset=utf-8", "<html><head><style>p{}</style></head><body><p>%s &amp; more</p></body></html>\n" %
                (body or sentence(9)), Transfer_Encoding="7bit")


def ends(s):
    return s if s.endswith("\n") else s + "\n"


def message(content, **kw):
    return ends(head(**kw) + content)


def word(s, charset, how):
    data = s.encode(PYTHON_NAME.get(charset, charset))
    if how == "B":
        return "=?%s?B?%s?=" % (charset, base64.b64encode(data).decode())
    return "=?%s?Q?%s?=" % (charset, "".join("_" if b == 32 else chr(b) if chr(b).isalnum() and b < 128 else "=%02X" % b for b in data))


def simple():
    add("empty", b"")
    add("one-blank-line", "\n")
    add("header-only-no-blank-line", head().rstrip("\n") + "\n")
    add("header-and-blank-line", head() + "\n")
    add("no-header", "\nJust a body, after the blank line.\n")
    add("body-without-any-header", "This line has no colon and is no header\nneither is this\n")
    add("one-field", "Subject: alone\n\nx\n")
    add("no-mime-version", head(skip=("MIME-Version",)) + "\n" + text())
    add("one-byte-body", head() + "\n.\n")
    add("dots", head() + "\n.\n..\n...\n.x\n..x\n. \nend\n.\n")
    add("dots-in-header", "X-Dots: a\n" + head() + "\n" + ".\n" * 40)
    add("blank-lines", head() + "\n" * 60)
    add("trailing-spaces", head() + "\n" + "line with spaces   \n \n\t\nsignature\n-- \nme\n")
    add("from-line", head() + "\nFrom here on it is quoted\nFrom me\n>From you\n")
    add("line-998", head() + "\n" + "x" * 998 + "\n" + "." + "y" * 997 + "\n")
    add("lines-of-every-length", head() + "\n" + "".join("z" * n + "\n" for n in range(0, 200, 3)))
    add("header-line-998", "X-Long: " + "h" * 990 + "\n" + head() + "\nshort\n")
    add("tabs", head() + "\n" + "a\tb\t\tc\n" * 20)
    add("control-bytes", raw(head() + "\n") + bytes(b for b in range(1, 32) if b not in (10, 13)) + b"\x7f\r\n")
    add("looks-like-smtp", head() + "\nEHLO x\nMAIL FROM:<a@b>\nDATA\nQUIT\n")
    add("looks-like-imap", head() + "\n* 1 FETCH (FLAGS (\\Seen))\na OK done\n{10}\n)\n")
    add("form-feed-and-bell", head() + "\npage\fone\abell\n")
    for n in (1, 10, 100, 2000):
        add("text-%d-lines" % n, head() + "\n" + text(n))
    for size in (1024, 10240, 100 * 1024):
        add("plain-%dk" % (size // 1024), head() + "\n" + "".join(sentence(9) + "\n" for _ in range(size // 60)))


def charsets():
    for language, (sample, names) in TEXTS.items():
        for charset in names:
            data = sample.encode(PYTHON_NAME.get(charset, charset))
            title = word(sample[:14], charset, "B" if len(charset) % 2 else "Q")
            who = "%s <%s@example.org>" % (word(sample[:6], charset, "B"), language)
            add("%s-%s-base64" % (language, charset), message(part(
                "text/plain; charset=%s" % charset, b64(data + b"\r\n"), Transfer_Encoding="base64"), subject=title, From=who))
            qp = quopri.encodestring(data, quotetabs=True).decode("ascii") + "\n"
            add("%s-%s-qp" % (language, charset), message(part(
                'text/plain; charset="%s"' % charset.upper(), qp, Transfer_Encoding="quoted-printable"), subject=title, To=who))
            if charset not in ("iso-2022-jp", "iso-2022-kr", "utf-7"):
                add("%s-%s-8bit" % (language, charset), raw(message(part("text/plain; charset=%s" % charset, "", Transfer_Encoding="8bit"),
                                                                 subject=title)) + data + b"\r\n")
        add("%s-utf8-headers" % language, message("\n" + sample + "\n", subject=sample, From="%s <%s@example.org>" % (sample[:9], language)))
        add("%s-undeclared-8bit" % language, raw(head(skip=("MIME-Version",)) + "\n") +
            sample.encode(PYTHON_NAME.get(names[1], names[1])) + b"\r\n")


def header_shapes():
    many = ",\n ".join('"Person %d" <p%d@example.org>' % (i, i) for i in range(300))
    shapes = {
        "folded-subject": dict(subject="a very long subject\n that goes on\n\tand on\n  and on"),
        "empty-subject": dict(subject=""),
        "long-folded-references": dict(References="\n ".join("<%032x@example.org>" % RNG.getrandbits(128) for _ in range(400))),
        "300-recipients": dict(To=many),
        "groups": dict(To="Friends: alice@example.org, Bob <bob@example.net>;, undisclosed-recipients:;"),
        "no-recipients": dict(To="undisclosed-recipients:;"),
        "comment-names": dict(From="alice@example.org (Alice (in) Wonderland)"),
        "quoted-local-part": dict(From='"john doe"@example.org', To='"a\\"b"@example.org'),
        "domain-literal": dict(From="root@[192.0.2.1]", To="x@[IPv6:2001:db8::1]"),
        "source-route": dict(From="<@relay.example.com,@b.example.com:joe@example.org>"),
        "address-as-name": dict(From="alice@example.org <alice@example.org>"),
        "no-domain": dict(From="root", To="postmaster, Cron Daemon <root>"),
        "broken-address": dict(From='"unclosed <a@b', To="a@@b, <>, ,, <x"),
        "empty-from": dict(From="", To=""),
        "sender-and-reply-to": dict(Sender="Secretary <s@example.org>", Reply_To="a@example.org, b@example.org"),
        "empty-sender": dict(Sender="", Reply_To=""),
        "cc-and-bcc": dict(Cc="c@example.org", Bcc="hidden@example.org"),
        "backslashes": dict(subject='back\\slash and "quotes"', From='"Back\\\\slash \\"Q\\"" <b@example.org>'),
        "words-split-in-characters": dict(subject="=?utf-8?Q?=E6=97?=\n =?utf-8?Q?=A5=E6=9C=AC?="),
        "words-adjacent": dict(subject="=?utf-8?B?w6Q=?= =?utf-8?B?w7Y=?=\n =?iso-8859-1?Q?=FC?= end"),
        "words-broken": dict(subject="=?utf-8?Q?open =?x?y?z?= =?utf-8?B?!!!?= =?nonsense?Q?=FF?="),
        "word-with-language": dict(subject="=?us-ascii*en-US?Q?hello?="),
        "word-of-400-bytes": dict(subject="=?utf-8?Q?" + "=C3=A4" * 65 + "?="),
        "reply-marks": dict(subject="Re: Fwd: [list] RE[2]: AW: tea (fwd)", In_Reply_To="<1@example.org>", References="<0@example.org>\n <1@example.org>"),
        "mailing-list": dict(List_Id="Tea <tea.example.org>", List_Unsubscribe="<mailto:tea-leave@example.org>,\n <https://example.org/leave>",
                             List_Post="<mailto:tea@example.org>", Precedence="list", Sender="tea-bounces@example.org",
                             List_Archive="<https://example.org/archive>", Errors_To="tea-bounces@example.org"),
        "dkim-signed": dict(DKIM_Signature="v=1; a=rsa-sha256; d=example.org; s=mail;\n\th=from:to:subject; bh=" + "A" * 43 + "=;\n\tb=" +
                            "\n\t ".join("B" * 60 for _ in range(5))),
        "spam-headers": dict(X_Spam_Status="No, score=-1.9 required=5.0 tests=BAYES_00,\n\tDKIM_SIGNED autolearn=ham", X_Spam_Level="*"),
        "newsgroup": dict(Newsgroups="comp.mail.misc", Path="a!b!c", Xref="a comp.mail.misc:1", Lines="7"),
        "resent": dict(Resent_From="x@example.org", Resent_To="y@example.org", Resent_Date="Mon, 1 Jan 2001 00:00:00 +0000"),
    }
    for what, fields in shapes.items():
        add("header-" + what, message("\n" + text(3), **fields))
    for i, value in enumerate(["yesterday", "", "Tue, 24 Nov 2026", "24 Nov 26 06:45 EST", "Tue, 31 Feb 2026 25:61:61 +9999", "2026-11-24T06:45:48Z",
                               "Tue,24 Nov 2026 6:4:5 GMT (a (nested) comment)", "Fri, 21 Nov 97 09:55:06 -0600", "Tuesday, 24-Nov-26 06:45:48 Z",
                               "Thu, 1 Jan 1970 00:00:00 +0000", "Sat, 31 Dec 2016 23:59:60 +0000"]):
        add("date-%d" % i, message("\nDated: %s\n" % value, Date=value))
    add("header-no-date", message("\nx\n", skip=("Date",)))
    add("header-no-from", message("\nx\n", skip=("From",)))
    add("header-no-message-id", message("\nx\n", skip=("Message-ID",)))
    add("header-duplicates", "Subject: first\nTo: one@example.org\n" + head() + "Subject: last\nFrom: other@example.org\nContent-Type: text/html\n\nx\n")
    add("header-space-before-colon", "Subject : spaced\nFrom\t: a@example.org\n\nx\n")
    add("header-odd-case", "sUBJECT: odd\nFROM: a@example.org\nto: B@EXAMPLE.ORG\nmessage-id: <X@y>\n\nx\n")
    add("header-broken-lines", "From here\nno colon at all\n: no name\nBad Name: x\n continued\n" + head() + "\nbody\n")
    add("header-mbox-from", "From alice@example.org Tue Nov 24 06:45:48 2026\n" + head() + "\nbody\n")
    add("header-fold-first", " starts with a fold\n" + head() + "\nbody\n")
    add("header-blank-fold", "Subject: a\n \n b\nX-Empty:\n \n" + head(skip=("Subject",)) + "\nbody\n")
    add("header-utf8-field-name", "X-Größe: 1\n" + head() + "\nbody\n")
    add("header-latin1-bytes", b"Subject: Gr\xfc\xdfe\r\nFrom: J\xf6rg <j@example.org>\r\n\r\nx\r\n")
    for n in (1, 5, 30):
        hops = "".join("Received: from h%d.example.org (h%d.example.org [192.0.2.%d])\n\tby h%d.example.org (Postfix) with ESMTPS id %08X\n"
                       "\tfor <alice@example.org>; %s (CET)\n" % (i, i, i, i + 1, RNG.getrandbits(32), date()) for i in range(n))
        add("received-%d" % n, "Return-Path: <bounce@example.net>\nDelivered-To: alice@example.org\n" + hops + head() + "\n" + text(4))
    add("header-1000-fields", "".join("X-Field-%d: %s\n" % (i, sentence(4)) for i in range(1000)) + head() + "\nbody\n")
    add("header-60k-folded", "X-Big: " + "\n ".join("v" * 900 for _ in range(66)) + "\n" + head() + "\nbody\n")


def shapes():
    logo = part('image/png; name="logo.png"', b64(binary(700)), Transfer_Encoding="base64", ID="<logo@example.org>", Disposition="inline")
    alternative = lambda: multi("alternative", [plain(), html()])
    related = lambda: multi("related", [html('<img src="cid:logo@example.org">'), logo], params='; type="text/html"')
    inner = lambda: ends(head() + plain())
    rfc822 = lambda m: part("message/rfc822", m, Disposition="inline")
    for i in range(3):
        add("alternative-%d" % i, message(alternative()))
        add("related-%d" % i, message(related()))
        add("mixed-%d" % i, message(multi("mixed", [plain(), attachment(900 + i)])))
        add("mixed-alternative-related-%d" % i, message(multi("mixed", [multi("alternative", [plain(), related()]), attachment(3000)])))
        add("forwarded-%d" % i, message(multi("mixed", [plain(), rfc822(inner())])))
    add("rfc822-top", message(part("message/rfc822", inner())))
    add("rfc822-in-rfc822", message(part("message/rfc822", ends(head() + part("message/rfc822", ends(head() + part("message/rfc822", inner())))))))
    add("rfc822-multipart-inside", message(multi("mixed", [rfc822(message(multi("mixed", [alternative(), attachment(50)]))), plain()])))
    add("rfc822-empty", message(multi("mixed", [part("message/rfc822", ""), plain()])))
    add("rfc822-base64", message(multi("mixed", [part("message/rfc822", b64(raw(inner())), Transfer_Encoding="base64")])))
    add("rfc822-header-only", message(multi("mixed", [part("message/rfc822", head()), plain()])))
    add("message-global", message(multi("mixed", [part("message/global", "Subject: Grüße\nFrom: Jörg <jörg@example.org>\n\nhi\n")])))
    add("message-partial", message(part('message/partial; id="x@y"; number=1; total=2', inner())))
    add("external-body", message(part('message/external-body; access-type=URL; URL="http://example.org/"', "Content-Type: image/jpeg\n\n")))
    digest = lambda ps: multi("digest", ps, preamble="A digest\n")
    add("digest", message(multi("mixed", [plain(), digest(["\n" + inner() for _ in range(4)])])))
    add("digest-typed-parts", message(digest(["\n" + inner(), plain(), part("message/rfc822", inner())])))
    add("signed", message(multi("signed", [plain(), part('application/pgp-signature; name="signature.asc"',
        "-----BEGIN PGP SIGNATURE-----\n\n%s-----END PGP SIGNATURE-----\n" % b64(binary(200)))], params="; micalg=pgp-sha256;\n protocol=\"application/pgp-signature\"")))
    add("smime", message(part('application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"', b64(binary(2500)), Transfer_Encoding="base64")))
    add("encrypted", message(multi("encrypted", [part("application/pgp-encrypted", "Version: 1\n"), part("application/octet-stream", text())],
                                   params='; protocol="application/pgp-encrypted"')))
    add("delivery-report", message(multi("report", [plain(), part("message/delivery-status",
        "Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; x@example.org\nAction: failed\nStatus: 5.1.1\n"),
        part("message/rfc822", inner())], params="; report-type=delivery-status"), From="Mail Delivery System <MAILER-DAEMON@example.org>"))
    add("read-receipt", message(multi("report", [plain(), part("message/disposition-notification", "Disposition: manual-action; displayed\n")],
                                      params="; report-type=disposition-notification")))
    add("calendar", message(multi("alternative", [plain(), html(), part('text/calendar; charset=utf-8; method=REQUEST',
        "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nSUMMARY:Grüße\nEND:VEVENT\nEND:VCALENDAR\n", Transfer_Encoding="8bit")])))
    add("vcard", message(multi("mixed", [plain(), part("text/vcard; charset=utf-8", "BEGIN:VCARD\nFN:Alice\nEND:VCARD\n")])))
    add("form-data", message(multi("form-data", [part("text/plain", "v\n", Disposition='form-data; name="k"')])))
    add("parallel-unknown-subtype", message(multi("x-made-up", [plain(), plain()])))
    for flow in ("flowed", "flowed; delsp=yes", "fixed"):
        add("format-" + flow.split(";")[0] + str(len(flow)), message(part("text/plain; charset=us-ascii; format=" + flow,
            "This is a paragraph that \nflows over several \nlines.\n\n> quoted and \n> flowed\n-- \nme\n")))
    add("uuencoded", message("\n" + "begin 644 a.txt\n#0V%T\n`\nend\n"))
    yenc = bytes((b + 42) % 256 for b in binary(6000))
    yenc = yenc.replace(b"\0", b"=@").replace(b"\r", b"=M").replace(b"\n", b"=J")
    add("yenc", raw(head() + part("text/plain; charset=x-yenc", "=ybegin line=128 size=6000 name=a.bin\n")) +
        b"".join(yenc[i:i + 128] + b"\r\n" for i in range(0, len(yenc), 128)) + b"=yend size=6000\r\n")
    add("binary-8bit-part", raw(message(multi("mixed", [plain()], boundary="bin", close=False)) + "--bin\n" +
        part("application/octet-stream", "", Transfer_Encoding="8bit")) + bytes(b for b in range(1, 256) if b not in (10, 13)) + b"\r\n--bin--\r\n")


def broken_shapes():
    ab = [plain("a\n"), plain("b\n")]
    add("no-final-boundary", message(multi("mixed", ab, close=False)))
    add("no-boundary-parameter", message(part("multipart/mixed", "--x\n\na\n--x--\n")))
    add("empty-boundary", message(part('multipart/mixed; boundary=""', "--\n\na\n----\n")))
    add("boundary-never-appears", message(part("multipart/mixed; boundary=never", text())))
    add("only-the-final-boundary", message(part("multipart/mixed; boundary=x", "pre\n--x--\npost\n")))
    add("preamble-epilogue", message(multi("mixed", ab, preamble="This is a multi-part message in MIME format.\n\n", epilogue="\nThe end.\n\n")))
    add("empty-preamble-line", message(multi("mixed", ab, preamble="\n")))
    add("boundary-after-end", message(multi("mixed", ab, boundary="x", epilogue="\n--x\n\nnot a part\n--x--\n")))
    add("boundary-prefix", message(multi("mixed", [multi("mixed", ab, boundary="abc1"), plain()], boundary="abc")))
    add("boundary-prefix-reversed", message(multi("mixed", [multi("mixed", ab, boundary="abc"), plain()], boundary="abc1")))
    add("boundary-same-nested", message(multi("mixed", [multi("mixed", ab, boundary="same"), plain()], boundary="same")))
    add("boundary-trailing-blanks", message(part("multipart/mixed; boundary=x", "--x  \t\n\na\n--x \n\nb\n--x--  \n")))
    add("boundary-trailing-text", message(part("multipart/mixed; boundary=x", "--x junk\n\na\n--x\n\nb\n--x--\n")))
    add("boundary-special-characters", message(multi("mixed", ab, boundary="'()+_,-./:=? x")))
    add("boundary-70", message(multi("mixed", ab, boundary="b" * 70)))
    add("boundary-continued", message(part("multipart/mixed; boundary*0=ab;\n boundary*1=cd", "--abcd\n\na\n--abcd--\n")))
    add("boundary-in-comment", message(part("multipart/mixed (c) ; (d) boundary (e) = (f) x (g)", "--x\n\na\n--x--\n")))
    add("boundary-dashes", message(multi("mixed", ab, boundary="----------")))
    add("boundary-in-header", message(part("multipart/mixed; boundary=x", "--x\nContent-Type: text/plain\n--x\n\nb\n--x--\n")))
    add("boundary-right-after-header", message(part("multipart/mixed; boundary=x", "--x\nContent-Type: text/plain\n\n--x--\n")))
    add("empty-parts", message(part("multipart/mixed; boundary=x", "--x\n--x\n\n--x\n\n\n--x--\n")))
    add("outer-ends-inner", message(multi("mixed", [multi("alternative", ab, boundary="in", close=False), plain()], boundary="out")))
    add("many-dash-lines", message(multi("mixed", [plain("--\n---\n-----\n--x\n--\n" * 30)])))
    add("type-broken", message(part("text", "x\n")))
    add("type-empty", message(part("; charset=utf-8", "x\n")))
    add("type-odd", message(part("TEXT/Plain;CHARSET=US-ASCII;;; format=flowed;", "x\n")))
    add("type-unquoted-spaces", message(part("application/pdf; name=my file.pdf", "x\n")))
    add("type-unclosed-quote", message(part('text/plain; charset="us-ascii', "x\n")))
    add("type-unknown", message(part("chemical/x-pdb", "x\n")))
    add("type-200-parameters", message(part("text/plain" + "".join(";\n p%d=%d" % (i, i) for i in range(200)), "x\n")))
    add("encoding-unknown", message(part("text/plain", "x\n", Transfer_Encoding="x-unknown")))
    add("encoding-odd", message(part("text/plain", "eA==\n", Transfer_Encoding='"BASE64" (yes)')))
    add("base64-dirty", message(part("text/plain", "aGVs!bG8g\n\n d29y\nbGQ=\ntrailing\n", Transfer_Encoding="base64")))
    add("base64-cut", message(part("text/plain", "aGVsbG8gd29ybA\n", Transfer_Encoding="base64")))
    add("qp-dirty", message(part("text/plain", "a=\nb= \nc=zz=4\n=3D=\n", Transfer_Encoding="quoted-printable")))
    add("charset-unknown", message(part("text/plain; charset=klingon", "Qapla'\n")))
    add("charset-lies", message(part("text/plain; charset=us-ascii", "Grüße\n", Transfer_Encoding="7bit")))
    add("multipart-encoded", message(multi("mixed", ab, Transfer_Encoding="quoted-printable")))
    nested = plain("deepest\n")
    for i in range(20):
        nested = multi("mixed", [nested], boundary="level-%d" % i)
    add("nested-20", message(nested))
    for i in range(20, 80):
        nested = multi("mixed", [nested], boundary="level-%d" % i)
    add("nested-80", message(nested))
    add("parts-500", message(multi("mixed", [plain("part %d\n" % i) for i in range(500)])))
    add("parts-2500", message(multi("mixed", [part("", "%d\n" % i) for i in range(2500)], boundary="p")))


def parameters():
    names = ["filename=plain.txt", 'filename="with space.txt"', "filename*=utf-8''%E2%82%AC%20rates.txt", "filename*=iso-8859-1'en'%A3.txt",
             "filename*0=part; filename*1=ed.txt", "filename*0*=utf-8''Gr%C3%BC; filename*1*=%C3%9Fe; filename*2=.txt",
             'filename="=?utf-8?Q?Gr=C3=BC=C3=9Fe.txt?="', 'filename="Grüße.txt"', 'filename="a\\"b\\\\c.txt"', "filename=", "filename",
             'filename="' + "x" * 300 + '.txt"', "filename*1=late; filename*0=early", "filename*=broken%zz", 'filename="../../etc/passwd"',
             "filename=a.txt; filename*=utf-8''b.txt", "filename*0*=utf-8''%C3; filename*1*=%A4.txt"]
    for i, value in enumerate(names):
        add("filename-%d" % i, message(multi("mixed", [plain(), part("application/octet-stream", b64(binary(60)), Transfer_Encoding="base64",
                                                                 Disposition="attachment;\n " + value)])))
    add("extension-fields", message(multi("mixed", [part("text/plain", "x\n", MD5="Q2hlY2sgSW50ZWdyaXR5IQ==", Language="de, en-US (both)",
        Location="http://example.org/a\n /b", Description="Beschreibung: =?utf-8?Q?=C3=A4?=", ID="<id@example.org>",
        Disposition='inline; filename="x.txt"; size=2; creation-date="Tue, 24 Nov 2026 06:45:48 +0000"')])))


def sizes():
    for kib in (1, 4, 16, 64, 256, 1024):
        add("attachment-%dk" % kib, message(multi("mixed", [plain(), attachment(kib * 1024)])))
    for i in range(12):
        parts = [plain() if RNG.random() < 0.5 else html()] + [attachment(RNG.randint(1, 30000), "f%d.bin" % k) for k in range(RNG.randint(1, 5))]
        add("random-mixed-%d" % i, message(multi("mixed", parts)))
    for i in range(25):
        add("everyday-%d" % i, message("\n" + text(RNG.randint(2, 60)), In_Reply_To="<%d@example.org>" % i, References="<%d@example.org>" % i))
    add("attachment-5m", message(multi("mixed", [plain(), attachment(5 * 1024 * 1024 * 3 // 4)])))
    add("attachment-20m", message(multi("mixed", [plain(), attachment(20 * 1024 * 1024 * 3 // 4)])))


REFUSED = {
    "bare-lf": b"Subject: x\r\n\r\nline one\nline two\r\n",
    "bare-cr": b"Subject: x\r\n\r\nline one\rline two\r\n",
    "nul": b"Subject: x\r\n\r\nbefore\0after\r\n",
    "all-lf": b"Subject: x\n\nbody\n",
    "lf-in-header": b"Subject: x\nTo: a@example.org\r\n\r\nbody\r\n",
    "cr-in-header": b"Subject: x\rTo: a@example.org\r\n\r\nbody\r\n",
    "nul-in-header": b"Subject: a\0b\r\n\r\nbody\r\n",
    "cr-cr-lf": b"Subject: x\r\n\r\nbody\r\r\n",
    "smuggle-lf-dot-lf": b"Subject: x\r\n\r\nbody\n.\nMAIL FROM:<evil@example.org>\r\n",
    "smuggle-lf-dot-crlf": b"Subject: x\r\n\r\nbody\n.\r\nMAIL FROM:<evil@example.org>\r\n",
    "smuggle-crlf-dot-lf": b"Subject: x\r\n\r\nbody\r\n.\nMAIL FROM:<evil@example.org>\r\n",
    "smuggle-cr-dot-cr": b"Subject: x\r\n\r\nbody\r.\rMAIL FROM:<evil@example.org>\r\n",
}


def check(name, data):
    assert b"\0" not in data and data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n"), name
    assert data == b"" or data.endswith(b"\r\n"), name
    longest = max(map(len, data.split(b"\r\n")))
    assert longest <= 998, (name, longest)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_corpus.py OUTDIR")
    out = sys.argv[1]
    os.makedirs(os.path.join(out, "refused"), exist_ok=True)
    for family in (simple, charsets, header_shapes, shapes, broken_shapes, parameters, sizes):
        family()
    oddities = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oddities")
    for name in sorted(os.listdir(oddities)):
        with open(os.path.join(oddities, name), "rb") as f:
            MESSAGES.append((os.path.splitext(name)[0], f.read()))
    for i, (what, data) in enumerate(MESSAGES):
        check(what, data)
        with open(os.path.join(out, "%03d-%s.eml" % (i, what)), "wb") as f:
            f.write(data)
    for name, data in REFUSED.items():
        with open(os.path.join(out, "refused", name + ".eml"), "wb") as f:
            f.write(data)
    print("%d messages, %d bytes; %d refused samples" % (len(MESSAGES), sum(len(d) for _, d in MESSAGES), len(REFUSED)))


main()
