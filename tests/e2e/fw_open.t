#!/usr/bin/env python3
"""Connections to ssh that were open before any rules were there, when nothing tracked connections, go on after the first load: whoever
loads them works through one.  Others that begin in their middle are dropped.  In network namespaces of this test."""
import os
import shutil
import socket
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from host import done, ok  # noqa: E402
from netns import Net, need_namespaces, write  # noqa: E402

need_namespaces()

WORK = tempfile.mkdtemp(prefix="mailadm-fwopen-")
SITE = """host = { name = "mail.example.org"; ipv4 = "192.0.2.10"; ipv6 = "2001:db8::10"; };
domains = ( { name = "example.org"; } );
accounts = ( { address = "alice@example.org"; } );
state_dir = "state";
firewall = { %s };
"""
CASES = {
    "open to all": "",
    "with egress": "egress = true; ",
    "of the administrator": 'admin_from = ( "192.0.2.99", "2001:db8::99" ); egress = true; ',
    "on another port": 'ssh_port = 2222; admin_from = ( "192.0.2.99", "2001:db8::99" ); egress = true; ',
}


def connection(net, to, port):
    fam = socket.AF_INET6 if ":" in to else socket.AF_INET
    listener = net.listen("host", port)
    client = net.open("world", fam, socket.SOCK_STREAM)
    client.connect((to, port))
    listener.setblocking(True)
    server, _ = listener.accept()
    listener.close()
    net.sockets.remove(listener)
    net.sockets.append(server)
    for s in (client, server):
        s.settimeout(2)
    return client, server


def hears(sender, receiver, seconds):
    receiver.settimeout(seconds)
    sender.send(b"more")
    try:
        return receiver.recv(100) == b"more"
    except socket.timeout:
        return False


def goes_on(net, name, firewall):
    conf = write(WORK, "site.conf", SITE % firewall)
    port = 2222 if "2222" in firewall else 22
    net.run("host", "nft", "flush", "ruleset")
    pairs = [connection(net, to, port) for to in ("192.0.2.10", "2001:db8::10")]
    other = connection(net, "192.0.2.10", 25)
    ok(net.load("host", conf), name + ": loads")
    for (client, server), what in zip(pairs, ("IPv4", "IPv6")):
        ok(hears(client, server, 3), "%s: ssh hears over %s" % (name, what))
        ok(hears(server, client, 3), "and answers")
    ok(not hears(other[0], other[1], 0.3), "but what begins in its middle at port 25 is dropped")
    net.close()


try:
    with Net("fwopen", "world", "host") as net:
        net.join("world", "eth0", "host", "eth0")
        net.address("world", "eth0", "192.0.2.99/24", "2001:db8::99/64")
        net.address("host", "eth0", "192.0.2.10/24", "2001:db8::10/64")
        for name, firewall in CASES.items():
            goes_on(net, name, firewall)
finally:
    shutil.rmtree(WORK)
done()
