"""Peers with addresses of their own, for tests of the checks of mail from outside: a network namespace where they are on lo, the
records that a real named serves, a client with a source address, and a host whose rules change.  enter_peers() comes first."""
import os
import re

from dns_world import World, enter
from host import Host
from smtp_talk import Talk, messages

GOOD, NAMELESS, LISTED, SOFT, ALLOWED, TRUSTED, FLOOD = ["192.0.2.%d" % n for n in (50, 60, 80, 90, 100, 110, 120)]
DYNAMIC, NEIGHBOUR = "203.0.113.70", "203.0.113.71"


def enter_peers():
    enter((GOOD, NAMELESS, DYNAMIC, NEIGHBOUR, LISTED, SOFT, ALLOWED, TRUSTED, FLOOD))


ZONE = """
50.2.0.192.in-addr.arpa. PTR mx.good.example.
mx.good.example. A 192.0.2.50
good.example. TXT "v=spf1 ip4:192.0.2.50 -all"
soft.example. TXT "v=spf1 ~all"
strict.example. TXT "v=spf1 -all exp=why.strict.example"
why.strict.example. TXT "%{i} may not send for %{d}"
wordy.example. TXT "v=spf1 -all exp=why.wordy.example"
""" + 'why.wordy.example. TXT "%s" "%s"\n' % ("x" * 250, "y" * 240) + """
70.113.0.203.in-addr.arpa. PTR host-70-113-0-203.isp.example.
host-70-113-0-203.isp.example. A 203.0.113.70
80.2.0.192.in-addr.arpa. PTR mx.listed.example.
mx.listed.example. A 192.0.2.80
80.2.0.192.bl.example. A 127.0.0.2
80.2.0.192.bl.example. TXT "see https://bl.example/192.0.2.80"
90.2.0.192.in-addr.arpa. PTR mx.soft-listed.example.
mx.soft-listed.example. A 192.0.2.90
90.2.0.192.soft-bl.example. A 127.0.0.4
90.2.0.192.bl.example. A 127.0.0.10
100.2.0.192.bl.example. A 127.0.0.2
100.2.0.192.wl.example. A 127.0.0.3
50.2.0.192.soft-bl.example. A 127.255.255.254
120.2.0.192.in-addr.arpa. PTR mx.flood.example.
mx.flood.example. A 192.0.2.120
"""
LISTS = 'block_lists = ( { name = "bl.example"; codes = ( "127.0.0.0/29" ); }, { name = "soft-bl.example"; action = "mark"; } ); ' \
        'allow_lists = ( { name = "wl.example"; } ); '
BASE = 'dns_wait = "1s"; tarpit = "0"; greylist_delay = "3s"; trusted = ( "%s" ); ' % TRUSTED
ALL_OFF = 'early_talker = "off"; helo = "off"; reverse_dns = "off"; spf = "off"; dkim = "off"; dmarc = "off"; greylist = "off"; '


class From(Talk):
    """A client with this source address."""

    def __init__(self, host, source, greet=True):
        super().__init__(host, greet=greet, source=source)

    def mail(self, sender, to="alice@example.org", helo="mx.good.example", content=b"Subject: x\r\n\r\nx\r\n"):
        """The first reply that is no success, else that of the message."""
        for line in ("EHLO " + helo, "MAIL FROM:<%s>" % sender, "RCPT TO:<%s>" % to, "DATA"):
            reply = self.cmd(line)
            if reply[0] >= 400:
                return reply
        self.send(content + b".\r\n")
        return self.reply()


def rules(host, text, lists=False):
    """Other checks, in force."""
    base = BASE if "tarpit" not in text else BASE.replace('tarpit = "0"; ', "")
    host.groups["checks"] = base + (LISTS if lists else "") + text
    with open(host.conf, "w") as f:
        f.write(host.site_text())
    host.cli("reload")


def off_but(rule, value):
    """All rules off but this one."""
    return re.sub(r'\b%s = "off"' % rule, '%s = "%s"' % (rule, value), ALL_OFF)


def one(host, source, *args, **kw):
    with From(host, source) as t:
        return t.mail(*args, **kw)


def last(host):
    return messages(host, "alice@example.org")[-1].decode()


def checked(host):
    return [line for line in host.log().splitlines() if "event=checked" in line]


def run(*parts):
    """Each part with a host and its DNS."""
    with World() as world:
        world.root["."] = ZONE
        world.start()
        with Host(groups={"checks": BASE + ALL_OFF}, site='dns = { forward = ( "127.0.0.1" ); dnssec = false; };\n') as host:
            for part in parts:
                part(host, world)
