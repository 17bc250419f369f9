"""Network namespaces for tests, named by the test's pid and removed at the end, and packets between them.

    need_namespaces()
    with Net("fw", "world", "host") as net:
        net.join("world", "eth0", "host", "eth0")
        net.own_everything("world", "eth0", ["192.0.2.10"])     # every other address is world's own
        net.listen("host", 25)
        net.probe("world", "198.51.100.7", "192.0.2.10", 25)    # "accept", "drop" or "refuse"

Nothing here touches the machine's own network.  Drops are told by silence: WAIT seconds, for all probes of one call at once.
"""
import ctypes
import errno
import os
import select
import shutil
import socket
import struct
import subprocess
import time

from host import MAILADM, diag, skip_all

WAIT = 0.4
CLONE_NEWNET = 0x40000000
IP_FREEBIND, IPV6_FREEBIND = 15, 78
libc = ctypes.CDLL(None, use_errno=True)


def need_namespaces(*tools):
    """Skips the whole test where there can be none."""
    if os.geteuid() != 0:
        skip_all("network namespaces with addresses of their own need root")
    for tool in ("ip", "nft", *tools):
        if shutil.which(tool) is None:
            skip_all(tool + " is missing")


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Net:
    def __init__(self, tag, *names):
        self.tag = "mailadm-%s-%d" % (tag, os.getpid())
        self.names = names
        self.sockets = []
        self.kept = []

    def __enter__(self):
        try:
            for name in self.names:
                self._run("ip", "netns", "add", self.ns(name))
                self.ip(name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        self.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.ns(name)], capture_output=True)

    def close(self):
        """All sockets."""
        self.close_probes()
        for s in self.kept:
            s.close()
        self.kept = []

    def keep(self):
        """What is open now stays open until the end."""
        self.kept += self.sockets
        self.sockets = []

    def close_probes(self):
        """What probes left open, without a trace in connection tracking: by RST."""
        for s in self.sockets:
            if s.type == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.sockets = []

    def ns(self, name):
        return "%s-%s" % (self.tag, name)

    @staticmethod
    def _run(*argv, input=None, check=True, env=None):
        r = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=60, env=env)
        if check and r.returncode != 0:
            raise RuntimeError("%s: exit %d\n%s%s" % (" ".join(argv), r.returncode, r.stdout, r.stderr))
        return r

    def run(self, name, *argv, input=None, check=True):
        """A command in a namespace."""
        return self._run("ip", "netns", "exec", self.ns(name), *argv, input=input, check=check)

    def ip(self, name, *args):
        return self._run("ip", "-n", self.ns(name), *args)

    def nft(self, name, text):
        return self.run(name, "nft", "-f", "-", input=text)

    def fw(self, name, conf, *args):
        """mailadm fw in a namespace."""
        return self.run(name, MAILADM, "-c", conf, "fw", *args, check=False)

    def load(self, name, conf):
        """The rules of the site: loaded?"""
        r = self.fw(name, conf, "load")
        if r.returncode != 0:
            diag(r.stdout + r.stderr)
        return r.returncode == 0

    def inside(self, name, fn, *args, **kw):
        """fn in a namespace: sockets and processes that it makes stay there."""
        with open("/proc/self/ns/net") as back, open("/run/netns/" + self.ns(name)) as there:
            if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return fn(*args, **kw)
            finally:
                libc.setns(back.fileno(), CLONE_NEWNET)

    def join(self, a, a_interface, b, b_interface, ask=True):
        """A veth pair.  Without ask nobody asks for neighbours (ARP, ND): own_everything would not answer for IPv6."""
        self.ip(a, "link", "add", a_interface, "type", "veth", "peer", "name", b_interface, "netns", self.ns(b))
        for name, interface in ((a, a_interface), (b, b_interface)):
            if not ask:  # then what is sent goes to the sender's own MAC address
                self.ip(name, "link", "set", interface, "address", "02:00:00:00:00:01", "arp", "off")
            self.ip(name, "link", "set", interface, "up")

    def address(self, name, interface, *addresses):
        for a in addresses:
            self.ip(name, "addr", "add", a, "dev", interface, *(["nodad"] if ":" in a else []))

    def route(self, name, to, interface, via=None):
        v6 = ":" in (via or to)
        self.ip(name, "-6" if v6 else "-4", "route", "add", to, *(["via", via] if via else []), "dev", interface)

    def own_everything(self, name, interface, others):
        """Every address is this namespace's, but those of others, which are behind interface."""
        for v, whole in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            self.ip(name, v, "route", "add", "local", whole, "dev", "lo", "table", "local")
        for o in others:
            self.ip(name, "-6" if ":" in o else "-4", "route", "add", o, "dev", interface, "table", "local")

    # Packets

    def open(self, name, *args):
        s = self.inside(name, socket.socket, *args)
        self.sockets.append(s)
        return s

    def listen(self, name, port, udp=False):
        """On every address of both families."""
        s = self.open(name, socket.AF_INET6, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", port))
        s.setblocking(False)
        if not udp:
            s.listen(512)
        return s

    def _start(self, name, source, to, port, user):
        s = self.inside(name, self._open_as, family(to), user)
        s.setblocking(False)
        self.sockets.append(s)
        if source:
            s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_FREEBIND, 1) if ":" in to else (socket.IPPROTO_IP, IP_FREEBIND, 1)))
            s.bind((source, 0))
        return s, s.connect_ex((to, port))

    @staticmethod
    def _open_as(fam, user, kind=socket.SOCK_STREAM):
        libc.setfsuid(user)  # what nft's skuid looks at
        try:
            return socket.socket(fam, kind)
        finally:
            libc.setfsuid(0)

    def probes(self, name, wanted, wait=WAIT):
        """TCP connections for [(source or "", to, port[, user]), ...] at once: a list of "accept", "drop", "refuse".  What was
        accepted stays open until close."""
        result = ["drop"] * len(wanted)
        waiting = {}
        poll = select.poll()
        for i, (source, to, port, *user) in enumerate(wanted):
            s, err = self._start(name, source, to, port, *(user or [0]))
            if err == errno.EINPROGRESS:
                waiting[s.fileno()] = (i, s)
                poll.register(s, select.POLLOUT)
            elif err == 0:
                result[i] = "accept"
        end = time.monotonic() + wait
        while waiting and time.monotonic() < end:
            for fd, _ in poll.poll(max(1, int((end - time.monotonic()) * 1000))):
                i, s = waiting.pop(fd)
                poll.unregister(fd)
                err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                result[i] = "accept" if err == 0 else "refuse" if err in (errno.ECONNREFUSED, errno.EACCES, errno.EHOSTUNREACH) else "drop"
        for _, s in waiting.values():
            s.close()
            self.sockets.remove(s)
        return result

    def probe(self, name, source, to, port, user=0):
        return self.probes(name, [(source, to, port, user)])[0]

    def datagram(self, name, source, to, port, listener, data=b"x", user=0, wait=WAIT):
        """Does it arrive at listener?  "accept" or "drop"."""
        s = self.inside(name, self._open_as, family(to), user, socket.SOCK_DGRAM)
        self.sockets.append(s)
        if source:
            s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_FREEBIND, 1) if ":" in to else (socket.IPPROTO_IP, IP_FREEBIND, 1)))
            s.bind((source, 0))
        try:
            s.sendto(data, (to, port))
        except PermissionError:
            return "drop"
        if not select.select([listener], [], [], wait)[0]:
            return "drop"
        return "accept" if listener.recv(2048) == data else "other"

    def echo(self, name, source, to, wait=WAIT):
        """One ICMP or ICMPv6 echo: answered?"""
        v6 = ":" in to
        s = self.open(name, family(to), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
        s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_FREEBIND, 1) if v6 else (socket.IPPROTO_IP, IP_FREEBIND, 1)))
        s.bind((source, 0))
        ident = os.getpid() & 0xffff
        packet = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, ident, 1) + b"mailadm"
        if not v6:
            packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        s.sendto(packet, (to, 0))
        end = time.monotonic() + wait
        while select.select([s], [], [], max(0, end - time.monotonic()))[0]:
            got = s.recv(2048)[0 if v6 else 20:]
            if got[0] == (129 if v6 else 0) and got[4:6] == struct.pack("!H", ident):
                return True
        return False

    def flags(self, name, source, to, port, flags, wait=WAIT):
        """One IPv4 TCP segment with these flags and no connection: did anything come back?"""
        out = self.open(name, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        back = self.open(name, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        a, b, own = socket.inet_aton(source), socket.inet_aton(to), 40000 + flags
        tcp = struct.pack("!HHIIBBHHH", own, port, 1000, 0, 5 << 4, flags, 1024, 0, 0)
        pseudo = a + b + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0)
        out.sendto(header + a + b + tcp, (to, 0))
        end = time.monotonic() + wait
        while select.select([back], [], [], max(0, end - time.monotonic()))[0]:
            got = back.recv(2048)
            if got[12:16] == b and got[20:24] == struct.pack("!HH", port, own):
                return True
        return False
