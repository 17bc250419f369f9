"""A real Dovecot on loopback as the server that mail comes from, or goes to."""
import imaplib
import os
import pwd
import shutil
import ssl
import subprocess
import tempfile

from host import free_offset, wait_until

PASSWORD = "old-password"


def there():
    return shutil.which("dovecot") is not None or os.path.exists("/usr/sbin/dovecot")


class Dovecot:
    """Users USER (any) have a Maildir in dir/mail/USER and the same password."""

    def __init__(self, settings="", password=PASSWORD, below="/tmp", users=None):
        """settings: more of dovecot.conf; what stands there last counts.  users: nobody but these is there (for LMTP)."""
        self.dir = tempfile.mkdtemp(prefix="mailadm-dovecot-", dir=below)
        os.chmod(self.dir, 0o755)
        self.mail = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.offset = free_offset()
        self.settings = settings
        self.users = users
        self.password = password
        self.process = None
        os.makedirs(self.dir + "/mail")
        os.chown(self.dir + "/mail", self.mail.pw_uid, self.mail.pw_gid)

    def start(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
                        self.dir + "/key.pem", "-out", self.dir + "/cert.pem"], check=True, capture_output=True)
        static = "uid=%d gid=%d home=%s/mail/%%u allow_all_users=yes" % (self.mail.pw_uid, self.mail.pw_gid, self.dir)
        if self.users is not None:
            with open(self.dir + "/users", "w") as f:
                for user in self.users + ["probe"]:
                    f.write("%s:{PLAIN}%s:%d:%d::%s/mail/%s\n" % (user, self.password, self.mail.pw_uid, self.mail.pw_gid, self.dir, user))
            os.chmod(self.dir + "/users", 0o644)
        db = "driver = passwd-file\n  args = %s/users" % self.dir
        with open(self.dir + "/dovecot.conf", "w") as f:
            f.write(f"""protocols = imap
base_dir = {self.dir}/run
log_path = {self.dir}/dovecot.log
listen = 127.0.0.1
mail_location = maildir:{self.dir}/mail/%u
mail_uid = {self.mail.pw_uid}
mail_gid = {self.mail.pw_gid}
first_valid_uid = 1
first_valid_gid = 1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{self.dir}/cert.pem
ssl_key = <{self.dir}/key.pem
passdb {{
  {db if self.users is not None else "driver = static" + chr(10) + "  args = password=" + self.password}
}}
userdb {{
  {db if self.users is not None else "driver = static" + chr(10) + "  args = " + static}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.offset + 143}
  }}
  inet_listener imaps {{
    port = {self.offset + 993}
    ssl = yes
  }}
}}
{self.settings}
""")
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.dir + "/dovecot.conf"], stderr=subprocess.DEVNULL)
        wait_until(self.answers, "dovecot")
        return self

    def answers(self):
        try:
            self.imap("probe").logout()
            return True
        except (OSError, imaplib.IMAP4.error):
            return False

    def imap(self, user):
        context = ssl.create_default_context(cafile=self.dir + "/cert.pem")
        c = imaplib.IMAP4_SSL("localhost", self.offset + 993, ssl_context=context, timeout=30)
        c.login(user, self.password)
        return c

    def maildir(self, user):
        return os.path.join(self.dir, "mail", user)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
