#!/usr/bin/env python3
"""The firewall of the role gateway as packets meet it: the world, the gateway, and behind it the host and another machine, in four
namespaces.  Ports forwarded with the source they came from, masquerade, hairpin, everything else refused; over IPv4, over routed IPv6
and over IPv6 that is translated too."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import diag, done, is_, wait_until  # noqa: E402
from netns import Net, need_namespaces, write  # noqa: E402

need_namespaces()

WORK = tempfile.mkdtemp(prefix="mailadm-gateway-")
SITE = """role = "gateway";
host = { name = "mail.example.org"; ipv4 = "10.0.0.10"; public_ipv4 = "192.0.2.10"; ipv6 = "%(six)s"; public_ipv6 = "%(public)s"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
firewall = { admin_from = ( "198.51.100.0/28" ); %(firewall)s };
gateway = { outside = "wan0"; inside = "lan0"; network = ( "10.0.0.0/24", "%(network)s" ); %(gateway)s };
"""
PUBLIC4, PUBLIC6 = "192.0.2.10", "2001:db8::10"
WORLD4, WORLD6 = "9.9.9.9", "2620:fe::9"


def load(net, six=PUBLIC6, network="2001:db8::/64", firewall="", gateway=""):
    conf = write(WORK, "site.conf", SITE % {"six": six, "public": PUBLIC6, "network": network, "firewall": firewall, "gateway": gateway})
    if not net.load("gateway", conf):
        raise RuntimeError("the rules could not be loaded")
    return conf


def seen_source(net, listener):
    """From where the next connection comes, as the listener sees it."""
    def accepted():
        try:
            s, peer = listener.accept()
        except BlockingIOError:
            return None
        s.close()
        return peer[0].removeprefix("::ffff:")
    return wait_until(accepted, "a connection", 2)


def forget(net):
    """Connections that nobody has asked about."""
    for listener in (*net.host.values(), *net.world.values()):
        try:
            while True:
                listener.accept()[0].close()
        except BlockingIOError:
            pass


def forwarded(net, public, source, what):
    for port in (25, 993, 465, 587):
        is_(net.probe("world", source, public, port), "accept", "%s: port %d gets to the host" % (what, port))
        is_(seen_source(net, net.host[port]), source, "%s: which sees where it comes from" % what)
    got = net.probes("world", [(source, public, p) for p in (22, 80, 3306, 8080)])
    is_([g == "accept" for g in got], [False] * 4, "%s: other ports do not" % what)


def refused(net, inside, source, what):
    got = net.probes("world", [(source, a, p) for a in inside for p in (22, 3306)])
    is_([g == "accept" for g in got], [False] * len(got), "%s: nothing else behind it is reached from outside" % what)


def goes_out(net, listener_port, to, want, what):
    for name, source in want.items():
        is_(net.probe(name, "", to, listener_port), "accept", "%s: %s connects out" % (what, name))
        is_(seen_source(net, net.world[listener_port]), source, "%s: and is seen as %s" % (what, source))


def ipv4(net):
    load(net)
    forwarded(net, PUBLIC4, WORLD4, "IPv4")
    refused(net, ("10.0.0.10", "10.0.0.20"), WORLD4, "IPv4")
    is_(net.probe("world", WORLD4, "10.0.0.20", 25), "drop", "port 25 of another machine neither")
    goes_out(net, 443, WORLD4, {"host": PUBLIC4, "client": PUBLIC4}, "masquerade")
    is_(net.probe("host", "", WORLD4, 25), "accept", "the host sends mail")
    is_(net.probe("client", "", WORLD4, 25) == "accept", False, "another machine behind it does not")
    is_(net.probe("client", "", PUBLIC4, 993), "accept", "hairpin: the public address from inside")
    seen_source(net, net.host[993])
    is_(net.probe("host", "", PUBLIC4, 25), "accept", "hairpin: also from the host itself")
    is_(net.datagram("world", WORLD4, PUBLIC4, 53, net.dns, b"a question"), "accept", "a datagram gets to the host")
    is_(net.datagram("world", "10.0.0.99", PUBLIC4, 53, net.dns, b"a lie"), "drop", "but not from outside with a source of the inside")
    is_(net.probe("world", "198.51.100.3", PUBLIC4, 22), "accept", "ssh to the gateway from admin_from")
    is_(net.probe("world", WORLD4, PUBLIC4, 22), "drop", "and from nowhere else")
    is_(net.echo("world", WORLD4, PUBLIC4), True, "the gateway answers echo")


def routed_ipv6(net):
    forwarded(net, PUBLIC6, WORLD6, "routed IPv6")
    refused(net, (PUBLIC6, "2001:db8::20"), WORLD6, "routed IPv6")
    is_(net.probe("world", WORLD6, "2001:db8::20", 25), "drop", "port 25 of another machine neither")
    goes_out(net, 443, WORLD6, {"host": PUBLIC6, "client": "2001:db8::20"}, "routed IPv6")
    is_(net.probe("client", "", PUBLIC6, 993), "accept", "inside they reach each other")
    is_(net.datagram("world", "2001:db8::99", PUBLIC6, 53, net.dns, b"a lie"), "drop", "no source of the inside comes from outside")
    is_(net.echo("world", WORLD6, PUBLIC6), True, "echo gets to the host")


def choices(net):
    load(net, gateway="masquerade = false; hairpin = false;")
    is_(net.probe("client", "", PUBLIC4, 993) == "accept", False, "without hairpin the public address is not reached from inside")
    goes_out(net, 443, WORLD4, {"client": "10.0.0.20"}, "without masquerade")
    load(net, firewall="smtp_rate = 6;")
    got = net.probes("world", [("9.1.1.1", PUBLIC4, 25)] * 20).count("accept")
    is_(0 < got <= 12, True, "rates hold on the gateway too: %d of 20" % got)
    is_(net.probe("world", "9.1.1.2", PUBLIC4, 25), "accept", "by source")


def translated_ipv6(net):
    net.address("gateway", "wan0", PUBLIC6 + "/128")
    for name, a in (("gateway", "fd00::1/64"), ("host", "fd00::10/64"), ("client", "fd00::20/64")):
        net.ip(name, "-6", "addr", "flush", "scope", "global", "dev", "lan0" if name == "gateway" else "eth0")
        net.address(name, "lan0" if name == "gateway" else "eth0", a)
        if name != "gateway":
            net.ip(name, "-6", "route", "replace", "default", "via", "fd00::1", "dev", "eth0")
    load(net, six="fd00::10", network="fd00::/64")
    forwarded(net, PUBLIC6, WORLD6, "translated IPv6")
    refused(net, ("fd00::10", "fd00::20"), WORLD6, "translated IPv6")


def policy_tests(net):
    """mailadm fw test with the rules of the gateway: three namespaces of its own."""
    conf = load(net, firewall="""tests = (
        { from = "203.0.113.7"; to_port = 25; expect = "accept"; },
        { from = "203.0.113.7"; to_port = 993; expect = "accept"; },
        { from = "203.0.113.7"; to_port = 3306; expect = "drop"; },
        { from = "203.0.113.7"; to = "10.0.0.20"; to_port = 25; expect = "drop"; },
        { from = "2620:fe::7"; to_port = 25; expect = "accept"; },
        { from = "2620:fe::7"; to_port = 3306; expect = "drop"; },
        { from = "10.0.0.20"; to = "203.0.113.9"; to_port = 443; expect = "accept"; },
        { to = "203.0.113.9"; to_port = 25; expect = "accept"; },
        { to = "203.0.113.9"; to_port = 25; user = "nobody"; expect = "drop"; });""")
    r = net.fw("gateway", conf, "test")
    is_((r.returncode, [line.split("\t")[0] for line in r.stdout.splitlines()]), (0, ["pass"] * 9), "fw test with the gateway's rules")
    if r.returncode != 0:
        diag(r.stdout + r.stderr)


def network(net):
    net.join("world", "eth0", "gateway", "wan0", ask=False)
    net.ip("gateway", "link", "add", "lan0", "type", "bridge")
    net.ip("gateway", "link", "set", "lan0", "up")
    for name, port, a4, a6 in (("host", "port1", "10.0.0.10/24", "2001:db8::10/64"), ("client", "port2", "10.0.0.20/24", "2001:db8::20/64")):
        net.join("gateway", port, name, "eth0")
        net.ip("gateway", "link", "set", port, "master", "lan0")
        net.address(name, "eth0", a4, a6)
        net.ip(name, "route", "add", "default", "via", "10.0.0.1")
        net.ip(name, "-6", "route", "add", "default", "via", "2001:db8::1")
    if os.path.exists("/proc/sys/net/bridge"):  # the bridge is a switch here: br_netfilter must not filter in it
        net.run("gateway", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
    net.address("gateway", "lan0", "10.0.0.1/24", "2001:db8::1/64")
    net.address("gateway", "wan0", PUBLIC4 + "/32")
    net.ip("gateway", "route", "add", "default", "dev", "wan0")
    net.ip("gateway", "-6", "route", "add", "default", "dev", "wan0")
    net.run("gateway", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    net.own_everything("world", "eth0", (PUBLIC4, "10.0.0.10", "10.0.0.20", PUBLIC6, "2001:db8::20", "fd00::10", "fd00::20"))
    net.host = {p: net.listen("host", p) for p in (22, 25, 80, 443, 465, 587, 993, 3306, 8080)}
    net.client = {p: net.listen("client", p) for p in (22, 25, 3306)}
    net.world = {p: net.listen("world", p) for p in (25, 443)}
    net.listen("gateway", 22)
    net.dns = net.listen("host", 53, udp=True)
    net.keep()


try:
    with Net("gw", "world", "gateway", "host", "client") as net:
        network(net)
        for part in (ipv4, routed_ipv6, choices, policy_tests, translated_ipv6):
            part(net)
            forget(net)
            net.close_probes()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
done()
