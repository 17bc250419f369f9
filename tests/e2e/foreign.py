"""Small rulesets with the tables and chains that other programs make (Debian 12: ufw 0.36, firewalld 1.3, fail2ban 1.0, docker 20 and
29, libvirt 9, iptables-nft 1.8), as nft text."""

UFW = """
table ip filter {
	chain INPUT { type filter hook input priority filter; policy drop; jump ufw-before-input; jump ufw-user-input; }
	chain FORWARD { type filter hook forward priority filter; policy drop; }
	chain OUTPUT { type filter hook output priority filter; policy accept; }
	chain ufw-before-input { iifname "lo" accept; }
	chain ufw-user-input { tcp dport 22 accept; }
}
table ip6 filter {
	chain INPUT { type filter hook input priority filter; policy drop; jump ufw6-before-input; }
	chain ufw6-before-input { iifname "lo" accept; }
}
"""
FIREWALLD = """
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority 10; policy accept;
		ct state established,related accept
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_INPUT_ZONES { goto filter_IN_public; }
	chain filter_IN_public { tcp dport 22 accept; }
}
"""
FAIL2BAN = """
table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.99 }; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
	}
}
"""
DOCKER = """
table ip nat {
	chain DOCKER { iifname "docker0" return; iifname != "docker0" tcp dport 8080 dnat to 172.17.0.2:80; }
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
	chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; oifname != "docker0" ip saddr 172.17.0.0/16 masquerade; }
}
table ip filter {
	chain DOCKER { iifname != "docker0" oifname "docker0" ip daddr 172.17.0.2 tcp dport 80 accept; }
	chain DOCKER-USER { return; }
	chain DOCKER-ISOLATION-STAGE-1 { iifname "docker0" oifname != "docker0" jump DOCKER-ISOLATION-STAGE-2; return; }
	chain DOCKER-ISOLATION-STAGE-2 { oifname "docker0" drop; return; }
	chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; jump DOCKER-ISOLATION-STAGE-1; oifname "docker0" jump DOCKER; }
}
"""
DOCKER_NFT = """
table ip docker-bridges {
	chain filter-FORWARD { type filter hook forward priority filter; policy accept; oifname "docker0" tcp dport 80 accept; }
}
"""
LIBVIRT = """
table ip filter {
	chain LIBVIRT_INP { iifname "virbr0" udp dport 53 accept; }
	chain LIBVIRT_FWO { ip saddr 192.168.122.0/24 iifname "virbr0" accept; iifname "virbr0" reject; }
	chain INPUT { type filter hook input priority filter; policy accept; jump LIBVIRT_INP; }
}
"""
IPTABLES = """
table ip filter {
	chain INPUT { type filter hook input priority filter; policy accept; tcp dport 111 drop; }
}
"""
IPTABLES_EMPTY = """
table ip filter {
	chain INPUT { type filter hook input priority filter; policy accept; }
	chain FORWARD { type filter hook forward priority filter; policy accept; }
	chain OUTPUT { type filter hook output priority filter; policy accept; }
}
"""
STRANGER = """
table inet admins_own {
	chain in { type filter hook input priority 5; policy accept; tcp dport 6000 drop; }
}
"""
HARMLESS = """
table inet accounting {
	chain in { type filter hook input priority -200; policy accept; counter; }
	chain out { type filter hook output priority 0; policy drop; tcp dport 25 accept; accept; }
}
table inet nohooks {
	set s { type ipv4_addr; }
}
"""
ALL = (("ufw", UFW, [("ufw", True)]), ("firewalld", FIREWALLD, [("firewalld", True)]), ("fail2ban", FAIL2BAN, [("fail2ban", True)]),
       ("docker", DOCKER, [("docker", False)]), ("docker's own nft tables", DOCKER_NFT, [("docker", False)]),
       ("libvirt", LIBVIRT, [("libvirt", True)]), ("iptables", IPTABLES, [("iptables", True)]), ("empty tables of iptables", IPTABLES_EMPTY, []),
       ("a table of the administrator's", STRANGER, [("inet admins_own", True)]),
       ("tables that decide nothing", HARMLESS, [("inet accounting", False)]))
