#!/usr/bin/env python3
"""A random site that is right, from a seed: up to 500 domains and 10,000 accounts with aliases, lists, and every row of
the firewall, the zones and the gateway.

    tests/random_site.py SEED [--domains N] [--accounts N] [--out DIR] [--live] > site.conf

--out DIR writes DIR/site.conf and the files it names.  --live keeps to what one machine without a network can apply: its
own addresses, bind as name server, no gateway.  For tests: write(dir, seed, ...) does the same and returns the numbers.
The same seed gives the same site, whatever the machine."""
import argparse
import ipaddress
import os
import random
import sys

MAX_DOMAINS, MAX_ACCOUNTS = 500, 10000
SERVICES = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
TLDS = ("example", "test", "org", "net", "com", "de", "co.uk")
SYLLABLES = "ba be bi bo bu da de di do du fa fe ga go ka ki ko la le li lo lu ma me mi mo mu na ne ni no pa pe ra re ri ro sa se si ta te ti to va ve vi za zo".split()
ACCENTED = ("müller", "bücher", "école", "niño", "straße", "ελλάδα", "почта", "日本")


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v)
    if isinstance(v, list):
        return "( " + ", ".join(map(value, v)) + " )"
    return quoted(v)


def group(members):
    return "{ " + " ".join("%s = %s;" % (k, value(v)) for k, v in members.items()) + " }"


def groups(name, elements):
    return "%s = (\n%s\n);\n" % (name, ",\n".join("\t" + group(e) for e in elements)) if elements else ""


class Maker:
    def __init__(self, seed, domains=None, accounts=None, live=False):
        self.r = random.Random("mailadm %s" % seed)
        self.live = live
        self.files = {}
        self.want_domains = domains or self.sized(MAX_DOMAINS)
        self.want_accounts = accounts or self.sized(MAX_ACCOUNTS)

    def sized(self, most):
        """Mostly small, sometimes the most."""
        return self.r.choice((1, 2, 3, self.r.randint(1, 20), self.r.randint(1, 20), self.r.randint(1, most)))

    def chance(self, p=0.5):
        return self.r.random() < p

    def some(self, choices, least=0, most=4):
        choices = list(choices)
        return self.r.sample(choices, min(len(choices), self.r.randint(least, most)))

    def word(self, least=2, most=4):
        return "".join(self.r.choice(SYLLABLES) for _ in range(self.r.randint(least, most)))

    def v4(self):
        return str(self.r.choice((ipaddress.ip_address("198.51.100.0"), ipaddress.ip_address("203.0.113.0"))) + self.r.randint(1, 254))

    def v6(self):
        return str(ipaddress.ip_address("2001:db8:%x::" % self.r.randint(0x100, 0xffff)) + self.r.randint(1, 1 << 60))

    def address(self):
        family = self.family if self.family != "both" else self.r.choice(("ipv4", "ipv6"))
        return self.v4() if family == "ipv4" else self.v6()

    def prefix(self):
        a = ipaddress.ip_address(self.address())
        length = self.r.choice((24, 25, 28, 30, 31)) if a.version == 4 else self.r.choice((32, 48, 56, 64, 96, 127))
        return self.address() if self.chance(0.3) else str(ipaddress.ip_network((a, length), strict=False))

    def prefixes(self, least=0, most=5):
        return list(dict.fromkeys(self.prefix() for _ in range(self.r.randint(least, most))))

    def unused_port(self):
        while True:
            port = self.r.randint(1024, 65535)
            if port not in self.ports:
                self.ports.add(port)
                return port

    def host(self):
        have4, have6 = self.r.choice(((True, True), (True, True), (True, False), (False, True)))
        host = {"name": "mx%d.%s.example" % (self.r.randint(1, 9), self.word())}
        self.own = []
        if have4:
            host["ipv4"] = "192.0.2.10"
            if not self.live and self.chance(0.2):
                host["ipv4"], host["public_ipv4"] = "10.20.0.10", "192.0.2.10"
            self.own.append(host["ipv4"])
        if have6:
            host["ipv6"] = "2001:db8::10"
            self.own.append(host["ipv6"])
        self.have4, self.have6 = have4, have6
        self.family = "both" if have4 and have6 and self.chance(0.8) else "ipv4" if have4 else "ipv6"
        self.host_row = host
        return "host = %s;\n" % group(host)

    def domain_names(self):
        names = []
        seen = set()
        while len(names) < self.want_domains:
            name = self.r.choice(ACCENTED) + self.word(1, 2) if self.chance(0.03) else self.word(2, 4) + (str(len(names)) if self.chance(0.5) else "")
            if names and self.chance(0.05):
                name += "." + self.r.choice(names)
            else:
                name += "." + self.r.choice(TLDS)
            if name not in seen and len(name) < 120:
                seen.add(name)
                names.append(name)
        return names

    def records(self, name):
        """Further lines of a zone, at names that nothing else has."""
        label = "x-" + self.word(1, 2)
        return self.some((label + " A 192.0.2.%d" % self.r.randint(20, 250), label + "6 300 IN AAAA 2001:db8::%x" % self.r.randint(32, 65535),
                          label + "-t TXT \"%s %s\"" % (self.word(), "x" * self.r.randint(1, 200)), label + "-c CNAME www.elsewhere.example.",
                          "_x._tcp SRV 0 5 5222 chat.elsewhere.example.", label + "-m MX 10 mx.elsewhere.example."), 0, 4)

    def domain(self, name, mail):
        d = {"name": name}
        if self.chance(0.3):
            d["dkim_selector"] = self.r.choice(("s1", "k2026", "mail-a", "x"))
        if self.chance(0.4):
            d["dmarc"] = self.r.choice(("none", "quarantine", "reject"))
        if self.chance(0.1):
            d["dns"] = False
        if not mail:
            d["mail"] = False
        elif self.chance(0.2):
            d["mta_sts"] = self.r.choice(("none", "testing"))
        records = self.records(name)
        if records and self.chance(0.4):
            d["records"] = records
        return d

    def mail(self):
        names = self.domain_names()
        self.mail_domains = [n for i, n in enumerate(names) if i == 0 or self.chance(0.93)]
        rows = [self.domain(n, n in set(self.mail_domains)) for n in names]
        accounts = []
        for i in range(self.want_accounts):
            a = {"address": "%s%d@%s" % (self.word(1, 3), i, self.r.choice(self.mail_domains))}
            if self.chance(0.5):
                a["name"] = self.r.choice((self.word().title(), "Jürgen " + self.word().title(), 'The "%s"' % self.word(), ""))
            if self.chance(0.5):
                a["quota"] = self.r.choice(("100M", "1G", "10G", "1T"))
            if self.chance(0.1):
                a["protocols"] = self.r.choice((["imap"], ["submission", "imap"], ["pop3", "imap"]))
            accounts.append(a)
        self.somebody = [a["address"] for a in accounts]
        for row in rows:
            if row.get("mail", True) and self.chance(0.1):
                row["catch_all"] = self.r.choice(self.somebody)
            if self.chance(0.2):
                row["reports"] = self.r.choice(self.somebody)
        return groups("domains", rows) + groups("accounts", accounts) + self.aliases()

    def aliases(self):
        aliases, lists = [], []
        leads = list(self.somebody)  # to what stands before only, so that nothing goes round
        for i in range(self.r.randint(0, self.want_accounts // 4 + 2)):
            domain = self.r.choice(self.mail_domains)
            targets = list(dict.fromkeys(self.r.choice(leads if self.chance(0.2) else self.somebody) for _ in range(self.r.randint(1, 4))))
            if self.chance(0.2):
                targets.append("%s@elsewhere.example" % self.word())
            address = "a%d.%s@%s" % (i, self.word(1, 2), domain)
            aliases.append({"address": address, "to": targets[0] if len(targets) == 1 else targets})
            if i < 3:
                leads.append(address)
        for i in range(self.r.randint(0, 8)):
            members = list(dict.fromkeys(self.r.choice(self.somebody) for _ in range(self.r.randint(1, 60))))
            lists.append({"address": "list%d@%s" % (i, self.r.choice(self.mail_domains)), "members": members, "owner": self.r.choice(self.somebody)})
        return groups("aliases", aliases) + groups("lists", lists)

    def listen(self):
        self.on = dict(SERVICES)
        for name in self.some(("submission", "imap", "pop3", "pop3s"), 0, 4) if self.chance(0.4) else ():
            del self.on[name]
        off = [n for n in SERVICES if n not in self.on]
        return "listen = { %s };\n" % " ".join("%s = false;" % n for n in off) if off else ""

    def dns(self):
        ttl = self.r.choice(("5m", "1h", "2h", "1d"))
        d = {"ttl": ttl, "server": "bind" if self.live or self.chance(0.5) else self.r.choice(("auto", "none"))}
        served = d["server"] != "none"
        ours = self.mail_domains[0]
        if self.chance(0.4):
            ns = "ns1.%s" % ours if ours.isascii() and not self.live else "ns1.elsewhere.example"
            d["nameservers"] = [ns, "ns2.elsewhere.example"] + (["ns3.elsewhere.example"] if self.chance(0.3) else [])
            if served:
                d["secondaries"] = list(dict.fromkeys(self.address() for _ in range(self.r.randint(1, 3))))
        if self.chance(0.3):
            d["transfer"] = self.prefixes(1, 3)
        if self.chance(0.3):
            d["caa"] = "letsencrypt.org"
        if self.chance(0.3):
            d["forward"] = list(dict.fromkeys(self.address() + self.r.choice(("", "@5353")) for _ in range(self.r.randint(1, 3))))
        if served and self.chance(0.3) and not self.live:
            d["sign"] = True
        if served and self.chance(0.2) and not self.live:
            d["local_resolver"] = True
        if self.chance(0.3):
            d["rollover"] = self.r.choice(("60d", "180d", "1000d"))
        if self.chance(0.3):
            d["block_lists"] = self.some(("zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org"), 0, 3)
        if self.chance(0.1):
            d["dnssec"] = False
        self.server = d["server"]
        return d

    def extra(self):
        rows = []
        for i in range(self.r.randint(0, 12)):
            e = {"name": "%s-%d" % (self.word(1, 2), i), "port": self.unused_port()}
            if self.chance(0.3):
                e["protocol"] = "udp"
            if self.admins and self.chance(0.3):
                e["admin"] = True
            elif self.chance(0.4):
                e["from"] = self.prefixes(1, 4)
            if self.chance(0.3):
                e["rate"] = self.r.randint(1, 600)
            rows.append(e)
        return rows

    def out(self):
        rows = []
        for i in range(self.r.randint(0, 8)):
            e = {"name": "%s-%d" % (self.word(1, 2), i), "port": self.unused_port(), "protocol": self.r.choice(("tcp", "udp"))}
            if self.chance(0.5):
                e["to"] = self.prefixes(1, 4)
            if self.chance(0.4):
                e["user"] = self.r.choice(("root", "daemon", "nobody"))
            rows.append(e)
        return rows

    def tests(self):
        rows = []
        for port in self.some(self.on.values(), 0, 4):
            rows.append({"from": "9.9.9.9" if self.family != "ipv6" else "2620:fe::9", "to_port": port, "expect": "accept"})
        for _ in range(self.r.randint(0, 3)):
            rows.append({"from": "9.9.9.9" if self.family != "ipv6" else "2620:fe::9", "to_port": self.unused_port(), "expect": "drop"})
        rows.append({"to": "9.9.9.9" if self.family != "ipv6" else "2620:fe::9", "to_port": 25, "user": "daemon", "expect": "drop"})
        return rows if self.chance(0.5) else []

    def firewall(self):
        self.ports = set(self.on.values()) | {22, 53, 2222}
        self.admins = self.prefixes(1, 6) if self.chance(0.8) else []
        fw = {"ssh_port": self.r.choice((22, 22, 2222)), "family": self.family}
        if self.admins:
            fw["admin_from"] = self.admins
        for key, low, high in (("connections", 20, 500), ("smtp_rate", 10, 900), ("login_rate", 10, 900), ("syn_rate", 20, 200), ("ban_after", 3, 50)):
            if self.chance(0.3):
                fw[key] = self.r.randint(low, high)
        for key in ("bogons", "log", "egress", "ban"):
            if self.chance(0.4):
                fw[key] = self.chance()
        if self.chance(0.3):
            fw["never_ban"] = self.prefixes(1, 5)
        if self.chance(0.3):
            fw["ban_time"], fw["ban_max"] = self.r.choice((("1m", "1d"), ("1h", "30d"), ("10m", "10m")))
        if self.chance(0.4):
            fw["block_lists"] = ["blocked.txt"]
            self.files["blocked.txt"] = "# random\n" + "".join(self.block_line() for _ in range(self.r.choice((1, 10, 300))))
        if self.chance(0.3):
            fw["include"] = ["rules.nft"]
            self.files["rules.nft"] = "# random\n" + "".join("tcp dport %d counter %s\n" % (self.unused_port(), self.r.choice(("accept", "drop")))
                                                              for _ in range(self.r.randint(1, 3)))
        lists = groups("\textra", self.extra()) + (groups("\tout", self.out()) if fw.get("egress") else "") + groups("\ttests", self.tests())
        return "firewall = {\n%s%s};\n" % ("".join("\t%s = %s;\n" % (k, value(v)) for k, v in fw.items()), lists)

    def block_line(self):
        """Far from the addresses that tests and administrators use."""
        if self.chance(0.6):
            return str(ipaddress.ip_network((0x2d000000 + self.r.getrandbits(24), self.r.choice((20, 24, 28, 32))), strict=False)) + "\n"
        return str(ipaddress.ip_network((0x2a0e << 112 | self.r.getrandbits(100), self.r.choice((32, 48, 64, 128))), strict=False)) + "\n"

    def gateway(self):
        if self.live or self.chance(0.7):
            return ""
        g = {"outside": "eth0", "inside": "eth1", "network": [str(ipaddress.ip_network((a, 24 if "." in a else 64), strict=False)) for a in self.own]}
        g["masquerade"] = "public_ipv4" in self.host_row and self.chance()
        if self.chance(0.3):
            g["hairpin"] = False
        return "gateway = %s;\n" % group(g) + ('role = "gateway";\n' if self.chance() else "")

    def rest(self):
        text = ""
        if self.chance(0.2):
            text += "relay = { smarthost = \"smtp.elsewhere.example\"; port = %d; };\n" % self.r.choice((25, 465, 587))
        if self.chance(0.3):
            text += "limits = { message_size = \"%dM\"; recipients = %d; };\n" % (self.r.randint(1, 90), self.r.randint(1, 900))
        if self.chance(0.4):
            text += "admin = %s;\n" % group({"contact": self.r.choice(self.somebody), "command": "cat > /dev/null"})
        if self.chance(0.3):
            text += groups("backup", [{"name": "nightly", "repository": "sftp:b@elsewhere.example:/srv", "schedule": "*-*-* 0%d:15:00" % self.r.randint(0, 9)}])
        return text

    def site(self, more_dns=None, more=""):
        parts = [self.host(), self.listen(), self.mail()]
        dns = self.dns()
        dns.update(more_dns or {})
        return "".join(parts) + "dns = {\n%s};\n" % "".join("\t%s = %s;\n" % (k, value(v)) for k, v in dns.items()) + \
            self.firewall() + self.gateway() + self.rest() + 'state_dir = "state";\n' + more


def write(folder, seed, domains=None, accounts=None, live=False, more_dns=None, more=""):
    """Writes folder/site.conf and its files; the Maker, which knows what it made."""
    maker = Maker(seed, domains, accounts, live)
    text = maker.site(more_dns, more)
    os.makedirs(folder, exist_ok=True)
    for name, content in list(maker.files.items()) + [("site.conf", text)]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)
    return maker


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seed")
    parser.add_argument("--domains", type=int)
    parser.add_argument("--accounts", type=int)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--out")
    a = parser.parse_args()
    if a.out:
        write(a.out, a.seed, a.domains, a.accounts, a.live)
    else:
        sys.stdout.write(Maker(a.seed, a.domains, a.accounts, a.live).site())


if __name__ == "__main__":
    main()
