#!/usr/bin/env python3
"""The host's firewall as packets meet it: two namespaces, the site's rules loaded in one, every address of the world in the other.
What is let in and what is not, over IPv4 and IPv6; rates and connection limits by source; bogons, bans, block lists; ICMP; what goes
out, by user; odd TCP flags."""
import os
import pwd
import shutil
import socket
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import done, is_, ok, wait_until  # noqa: E402
from netns import IPV6_FREEBIND, Net, need_namespaces, write  # noqa: E402

need_namespaces()

WORK = tempfile.mkdtemp(prefix="mailadm-firewall-")
V4, V6 = "192.0.2.10", "2001:db8::10"
HOST = (V4, V6)
MAIL = (25, 587, 465, 143, 993, 110, 995)
SITE = """host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; ipv6 = "2001:db8::10"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
firewall = { admin_from = ( "198.51.100.0/28", "2001:db8:a::/48" ); %s };
"""
# Strangers have addresses of the Internet: of those for documentation the site itself uses some.
PEER4, PEER6 = "9.9.9.%d", "2620:fe:%x::%x"
count = 0


def peer(v6=False):
    """A source that nobody has met before."""
    global count
    count += 1
    return PEER6 % (count, 1) if v6 else PEER4 % count


def load(net, firewall):
    net.run("host", "nft", "flush", "ruleset")
    if not net.load("host", write(WORK, "site.conf", SITE % firewall)):
        raise RuntimeError("the rules could not be loaded")


def counters(net):
    return net.run("host", "nft", "list", "table", "inet", "mailadm").stdout


def is_all(got, want, names):
    """One test line for each."""
    for g, n in zip(got, names):
        is_(g, want, n)


def services(net):
    for to in HOST:
        v6 = ":" in to
        got = net.probes("world", [(peer(v6), to, p) for p in MAIL])
        is_all(got, "accept", ["port %d of %s" % (p, to) for p in MAIL])
        admin = ("2001:db8:a::7", "2001:db8:b::7") if v6 else ("198.51.100.7", "198.51.100.17")
        is_(net.probe("world", admin[0], to, 22), "accept", "ssh from admin_from, %s" % to)
        closed = (21, 23, 80, 111, 3306, 5432, 8080, 22)
        got = net.probes("world", [(peer(v6), to, p) for p in closed] + [(admin[1], to, 22)])
        is_all(got, "drop", ["port %d of %s is silent" % (p, to) for p in closed] + ["ssh from beside admin_from"])
        is_(net.datagram("world", peer(v6), to, 53, net.dns, b"dns"), "accept", "the zones of this host are asked for over UDP")
        is_(net.datagram("world", peer(v6), to, 123, net.ntp, b"ntp"), "drop", "NTP is not")
        is_(net.probe("host", "", to, 3306), "accept", "the host reaches itself")
    got = net.probes("world", [(peer(), V4, 443), ("198.51.100.3", V4, 9100), ("9.8.7.6", V4, 9200), (peer(), V4, 9100), (peer(), V4, 9200)])
    is_(got, ["accept"] * 3 + ["drop"] * 2, "extra ports: for all, for management from admin_from alone, for some sources alone")


def icmp(net):
    ok(net.echo("world", peer(), V4), "echo over IPv4")
    ok(net.echo("world", peer(True), V6), "echo over IPv6")
    far = PEER6 % (0xffff, 5)
    is_(net.datagram("host", "", far, 53, net.world_dns, b"question"), "accept", "a datagram goes out")
    packet_too_big(net, far, V6, net.sockets[-1].getsockname()[1], 1300)
    wait_until(lambda: "mtu 1300" in net.ip("host", "-6", "route", "get", far).stdout, "the smaller MTU", 3)
    ok(True, "packet too big gets through to whom it is about")
    is_(net.probe("neighbour", "", "2620:fe:aaaa::1", 25), "accept", "neighbours find each other over IPv6")


def packet_too_big(net, far, near, port, mtu):
    """What a router would say of a datagram from the host to far:53."""
    s = net.open("world", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    s.bind((PEER6 % (0xffff, 0xfe), 0))
    inner = struct.pack("!IHBB", 6 << 28, 1400, socket.IPPROTO_UDP, 64) + socket.inet_pton(socket.AF_INET6, near) + socket.inet_pton(
        socket.AF_INET6, far) + struct.pack("!HHHH", port, 53, 1400, 0)
    s.sendto(struct.pack("!BBHI", 2, 0, 0, mtu) + inner, (near, 0))


def rates(net):
    load(net, "smtp_rate = 12; login_rate = 6; syn_rate = 1000; extra = ( { name = \"web\"; port = 443; rate = 6; } );")
    for to in HOST:
        v6 = ":" in to
        for port, rate in ((25, 12), (993, 6), (443, 6)):
            source = peer(v6)
            got = net.probes("world", [(source, to, port)] * (rate * 3)).count("accept")
            ok(0 < got <= 2 * rate, "%d of %d connections at once to port %d of %s pass a rate of %d" % (got, rate * 3, port, to, rate))
            late = [source] + ([source[:-1] + "abcd"] if v6 else [])
            is_(net.probes("world", [(a, to, port) for a in late]), ["drop"] * len(late), "then none of %s" % ", ".join(late))
            is_(net.probe("world", peer(v6), to, port), "accept", "another source is not held up")
    load(net, "smtp_rate = 1000000; login_rate = 1000000; syn_rate = 5; connections = 1000;")
    source = peer()
    got = net.probes("world", [(source, V4, 25)] * 60).count("accept")
    ok(0 < got <= 20, "%d of 60 connection attempts at once pass a SYN rate of 5 a second" % got)
    is_(net.probe("world", peer(), V4, 25), "accept", "another source is not held up")
    net.close_probes()


def connections(net):
    load(net, "connections = 4; smtp_rate = 1000000; login_rate = 1000000; syn_rate = 1000000;")
    for to in HOST:
        v6 = ":" in to
        source = peer(v6)
        got = net.probes("world", [(source, to, p) for p in (25, 993, 25, 993, 25, 993, 25, 993)])
        is_(got.count("accept"), 4, "four connections at once from one source to %s" % to)
        is_(net.probe("world", peer(v6), to, 25), "accept", "another source has its own")
        if v6:
            is_(net.probe("world", source[:-1] + "abcd", to, 25), "drop", "its /64 has not")
        net.close_probes()
        wait_until(lambda: net.probe("world", source, to, 25) == "accept", "room after they closed", 15)
        ok(True, "when they have closed there is room again")
        net.close_probes()


def bogons(net):
    load(net, "")
    wrong = [("10.1.2.3", V4), ("192.168.7.7", V4), ("172.16.9.9", V4), ("100.64.1.1", V4), ("169.254.9.9", V4), ("240.0.0.9", V4),
             ("fc00::7", V6), ("64:ff9b:1::1", V6), ("100::1", V6)]
    got = net.probes("world", [(a, b, 25) for a, b in wrong])
    is_all(got, "drop", ["from %s" % a for a, _ in wrong])
    is_(net.probe("world", "198.51.100.9", V4, 25), "accept", "but not what the site itself uses")
    load(net, "bogons = false;")
    is_(net.probe("world", "10.1.2.3", V4, 25), "accept", "without bogons they pass")
    is_(net.probe("world", "fc00::7", V6, 25), "accept", "over IPv6 too")


def banned(net):
    write(WORK, "drop.txt", "# bad neighbours\n8.1.0.0/16\n8.2.2.2\n2a01:bad::/32\n8.1.4.0/24\n")
    load(net, 'block_lists = ( "drop.txt" );')
    listed = (("8.1.3.3", V4, "drop"), ("8.2.2.2", V4, "drop"), ("8.2.2.3", V4, "accept"), ("2a01:bad:7::1", V6, "drop"), ("2a01:bae::1", V6, "accept"))
    is_(net.probes("world", [(a, to, 25) for a, to, _ in listed]), [want for _, _, want in listed], "block lists: addresses and prefixes of both families")
    bad, bad6 = peer(), peer(True)
    is_(net.probes("world", [(bad, V4, 25), (bad6, V6, 25)]), ["accept"] * 2, "before the ban")
    net.nft("host", "add element inet mailadm bans4 { %s timeout 1h }; add element inet mailadm bans6 { %s timeout 1h }" %
            (bad, bad6[:-1]))
    is_(net.probes("world", [(bad, V4, 25), (bad6, V6, 25), (bad6[:-1] + "77", V6, 993)]), ["drop"] * 3, "banned: no new connection, and all of its /64")
    is_(net.probe("world", peer(), V4, 25), "accept", "nobody else is")
    net.nft("host", "delete element inet mailadm bans4 { %s }" % bad)
    is_(net.probe("world", bad, V4, 25), "accept", "the ban is over")
    net.nft("host", "add element inet mailadm bans4 { %s timeout 300ms }" % bad)
    is_(net.probe("world", bad, V4, 25), "drop", "a short ban")
    wait_until(lambda: net.probe("world", bad, V4, 25) == "accept", "its end", 3)
    ok(True, "ends by itself")


def outgoing(net):
    send = pwd.getpwnam("mailadm-send").pw_uid
    load(net, "")
    for to in (PEER4 % 250, PEER6 % (0xeeee, 1)):
        got = net.probes("host", [("", to, 25, send), ("", to, 25, 0), ("", to, 25, 65534), ("", to, 443, 65534), ("", to, 587, 0)])
        is_([g == "accept" for g in got], [True, False, False, True, True], "to port 25 of %s only mailadm-send, elsewhere everybody" % to)
    load(net, 'egress = true; out = ( { name = "web"; port = 443; user = "nobody"; }, { name = "monitoring"; port = 9090; to = ( "9.1.1.0/24" ); } );')
    for to in (PEER4 % 251, PEER6 % (0xeeee, 2)):
        got = net.probes("host", [("", to, 25, send), ("", to, 25, 0), ("", to, 443, 65534), ("", to, 443, 1), ("", to, 3306, 0), ("", to, 6667, 65534)])
        is_([g == "accept" for g in got], [True, False, True, False, False, False], "egress to %s: mail and what the site lists, by user" % to)
        dns = pwd.getpwnam("mailadm-dns").pw_uid
        is_(net.datagram("host", "", to, 53, net.world_dns, b"egress dns", dns), "accept", "and names, for the resolver")
        is_(net.datagram("host", "", to, 53, net.world_dns, b"not dns", 65534), "drop", "and for nobody else")
    got = net.probes("host", [("", "9.1.1.9", 9090, 0), ("", "9.1.2.9", 9090, 0)])
    is_([g == "accept" for g in got], [True, False], "and where to")
    is_(net.probe("host", "", V4, 3306), "accept", "the host still reaches itself")
    is_(net.probe("world", peer(), V4, 25), "accept", "and answers who may come in")
    ok(net.echo("world", peer(), V4), "and echo")


def odd_flags(net):
    load(net, "")
    for name, flags in (("SYN and FIN", 0x03), ("SYN and RST", 0x06), ("none", 0x00), ("FIN, URG, PSH", 0x29), ("all", 0x3f), ("a lone ACK", 0x10)):
        ok(not net.flags("world", peer(), V4, 110 if name == "a lone ACK" else 587, flags), "no answer to TCP flags: " + name)
    ok(net.flags("world", peer(), V4, 587, 0x02), "an answer to SYN")


def families(net):
    load(net, 'family = "ipv4";')
    is_(net.probes("world", [(peer(), V4, 25), (peer(True), V6, 25)]), ["accept", "drop"], "IPv4 alone")
    load(net, 'family = "ipv6";')
    is_(net.probes("world", [(peer(), V4, 25), (peer(True), V6, 25)]), ["drop", "accept"], "IPv6 alone")


def network(net):
    net.join("world", "eth0", "host", "eth0", ask=False)
    net.own_everything("world", "eth0", HOST)
    net.address("host", "eth0", V4 + "/32", V6 + "/128")
    net.ip("host", "route", "add", "default", "dev", "eth0")
    net.ip("host", "-6", "route", "add", "default", "dev", "eth0")
    net.join("neighbour", "eth0", "host", "eth1")
    net.address("neighbour", "eth0", "2620:fe:aaaa::2/64")
    net.address("host", "eth1", "2620:fe:aaaa::1/64")
    for port in (*MAIL, 22, 21, 23, 53, 80, 111, 443, 3306, 5432, 8080, 9100, 9200):
        net.listen("host", port)
    for port in (25, 443, 587, 3306, 6667, 9090):
        net.listen("world", port)
    net.dns, net.ntp = net.listen("host", 53, udp=True), net.listen("host", 123, udp=True)
    net.world_dns = net.listen("world", 53, udp=True)
    net.keep()


try:
    with Net("fw", "world", "host", "neighbour") as net:
        network(net)
        load(net, 'extra = ( { name = "web"; port = 443; }, { name = "metrics"; port = 9100; admin = true; }, '
                  '{ name = "some"; port = 9200; from = ( "9.8.7.0/24" ); } );')
        for part in (services, icmp, rates, connections, bogons, banned, outgoing, odd_flags, families):
            part(net)
            net.close_probes()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
