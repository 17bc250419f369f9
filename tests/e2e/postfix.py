"""A real Postfix on loopback, with a configuration of its own, as the next host of a test.

    with Postfix(folder, ["remote.example"]) as mta:   # needs root, as Postfix does
        ... mail to 127.0.0.1:mta.port ...
        mta.messages()      # [(envelope sender, recipient, bytes with CRLF)], of what was delivered

It keeps what it delivers in one Maildir.  settings: more lines of main.cf.
"""
import glob
import os
import pwd
import re
import shutil
import subprocess

from host import wait_until
from send_peers import free_port


def why_not():
    """Why there can be none here, or None."""
    if os.geteuid() != 0:
        return "Postfix starts as root only"
    return None if shutil.which("postfix") else "postfix is not installed"


class Postfix:
    def __init__(self, dir, domains, settings="", port=None, address="127.0.0.1"):
        self.dir = os.path.join(dir, "postfix")
        self.port, self.address = port or free_port([address]), address
        owner = pwd.getpwnam("postfix")
        for name in ("", "etc", "data", "queue", "mail"):
            os.makedirs(os.path.join(self.dir, name), exist_ok=True)
        os.chmod(dir, 0o711)
        for name in ("data", "mail"):
            os.chown(os.path.join(self.dir, name), owner.pw_uid, owner.pw_gid)
        with open(self.dir + "/etc/main.cf", "w") as f:
            f.write(f"""compatibility_level = 3.6
queue_directory = {self.dir}/queue
data_directory = {self.dir}/data
maillog_file = {self.dir}/queue/log
maillog_file_prefixes = {self.dir}
multi_instance_name = postfix-test-{os.getpid()}
myhostname = mx.{domains[0]}
mydestination =
inet_interfaces = 127.0.0.1
alias_maps =
virtual_mailbox_domains = {" ".join(domains)}
virtual_mailbox_base = {self.dir}/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{owner.pw_uid}
virtual_gid_maps = static:{owner.pw_gid}
{settings}
""")
        with open(self.dir + "/etc/master.cf", "w") as f:
            f.write(self._services())
        subprocess.run(["postfix", "-c", self.dir + "/etc", "start"], check=True, capture_output=True)

    def _services(self):
        dist = "/usr/share/postfix/master.cf.dist"
        lines = []
        with open(dist if os.path.exists(dist) else "/etc/postfix/master.cf") as f:
            for line in f:
                words = line.split()
                if line[:1] in "# \t\n" or len(words) < 8 or (words[1] == "inet" and words[0] != "smtp"):
                    continue
                if words[1] == "inet":
                    words[0] = "%s:%d" % (self.address, self.port)
                words[4] = "n"
                lines.append(" ".join(words))
        return "\n".join(lines) + "\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        subprocess.run(["postfix", "-c", self.dir + "/etc", "stop"], capture_output=True)

    def log(self):
        with open(self.dir + "/queue/log", errors="replace") as f:
            return f.read()

    def messages(self):
        out = []
        for path in sorted(glob.glob(self.dir + "/mail/box/new/*"), key=os.path.getmtime):
            with open(path, "rb") as f:
                data = f.read()
            sender = re.search(rb"^Return-Path: <(.*)>$", data, re.M).group(1).decode()
            recipient = re.search(rb"^(?:X-Original-To|Delivered-To): (.*)$", data, re.M).group(1).decode()
            out.append((sender, recipient, data.replace(b"\n", b"\r\n")))
        return out

    def wait(self, n, timeout=30):
        """Until n messages were delivered; all of them."""
        wait_until(lambda: len(glob.glob(self.dir + "/mail/box/new/*")) >= n, "%d messages at Postfix" % n, timeout)
        return self.messages()
