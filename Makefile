# mailadm: one non-recursive Makefile.  `make help` lists the targets.
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
SHELL := /bin/bash

VERSION := 0.1.0
PREFIX  ?= /usr
DESTDIR ?=
CC      ?= cc
SAN     ?=
BUILD   ?= $(if $(SAN),build-san,build)

BUILD_PACKAGES := build-essential pkg-config libevent-dev liblmdb-dev libunbound-dev libconfig-dev libldns-dev \
	libseccomp-dev libssl-dev libidn2-dev libutf8proc-dev libsmartcols-dev \
	libjansson-dev libcrypt-dev libnftnl-dev libmnl-dev libsqlite3-dev zlib1g-dev libcurl4-openssl-dev libexpat1-dev
RUN_PACKAGES   := restic nftables curl libcurl4 ca-certificates dns-root-data
CHECK_PACKAGES := libcmocka-dev clang libclang-rt-14-dev clang-format mandoc perl python3 swaks msmtp mutt isync \
	fetchmail bind9 bind9-utils bind9-dnsutils nftables iproute2 procps netcat-openbsd python3-dkim python3-spf python3-authheaders postfix openssl strace bsdutils libnet-ssleay-perl \
	openssh-server openssh-client iptables curl util-linux gsasl mpop dovecot-imapd dovecot-lmtpd haproxy opendkim python3-authres python3-yaml libgnutls-dane0 libidn12 libnsl2
CLIENT_PACKAGES := mutt neomutt offlineimap3 getmail6 mpop fetchmail isync aerc curl python3 swaks msmtp
BENCH_PACKAGES := postfix dovecot-imapd dovecot-lmtpd dovecot-pop3d bind9 bind9-utils nftables iproute2 opendkim opendmarc postfix-policyd-spf-python python3-dkim
export DEBIAN_FRONTEND := noninteractive

# Installs what is missing of $(1), as root; tells others the line to run.
define need
	@missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q ' installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			echo "installing:" $$missing; share/quiet-install $$missing; \
		else \
			echo "Debian packages are missing. As root: apt-get install" $$missing >&2; exit 2; \
		fi; \
	fi
endef

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla -Wformat=2
HARDEN := -fstack-protector-strong -fPIE -fstack-clash-protection -fcf-protection
PKGS := libevent libconfig ldns libseccomp openssl libidn2 \
	libutf8proc smartcols jansson lmdb libunbound libnftnl libmnl sqlite3 zlib expat
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lcrypt -lpthread
ifdef SAN
OPT  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDOPT := -fsanitize=address,undefined -pie
else
OPT  := -O2 -g -D_FORTIFY_SOURCE=2 $(HARDEN)
LDOPT := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
endif
CFLAGS  ?=
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -DMAILADM_VERSION='"$(VERSION)"' $(WARN) $(if $(WERROR),-Werror) $(OPT) $(PKG_CFLAGS) $(CFLAGS)

SRC := $(wildcard lib/*.c site/*.c fwgen/*.c dnsgen/*.c backup/*.c apply/*.c doctor/*.c mailsvc/*.c mailsvc/*/*.c)
MAIN_SVC := $(BUILD)/obj/mailsvc/main.o
OBJ := $(filter-out $(MAIN_SVC),$(SRC:%.c=$(BUILD)/obj/%.o))
CLI_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cli/*.c))
ARCHIVE := $(BUILD)/libmailadm.a
UNIT := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tools/*.c))
BENCH := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/bench_*.c))

.PHONY: all help run check check-unit check-e2e check-fuzz check-slow check-clients fuzz bench install deb deps deps-check deps-clients deps-bench clean format lint golden-update
all: $(BUILD)/mailadm $(BUILD)/mailsvc ; @: ## build mailadm and mailsvc

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done
	@echo '  SAN=1 builds with ASan and UBSan into build-san; BUILD=DIR names another folder.'

deps: ; $(call need,$(BUILD_PACKAGES) $(RUN_PACKAGES))
deps-check: ; $(call need,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(CHECK_PACKAGES))
deps-clients: ; $(call need,$(CLIENT_PACKAGES))
deps-bench: ; $(call need,$(BUILD_PACKAGES) $(BENCH_PACKAGES))

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D); [ -n "$(QUIET)" ] || echo "  CC $<"; $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(ARCHIVE): $(OBJ)
	@rm -f $@; ar rcs $@ $^
$(BUILD)/mailadm: $(CLI_OBJ) $(ARCHIVE)
	@echo "  LD $@"; $(CC) $(LDOPT) -o $@ $^ $(PKG_LIBS)
$(BUILD)/mailsvc: $(MAIN_SVC) $(ARCHIVE)
	@echo "  LD $@"; $(CC) $(LDOPT) -o $@ $^ $(PKG_LIBS)

# Tests and benchmarks in C: one program a file.
$(BUILD)/tests/unit/%: tests/unit/%.c $(ARCHIVE)
	@mkdir -p $(@D); $(CC) $(ALL_CFLAGS) -MMD -MP $(LDOPT) -o $@ $< $(ARCHIVE) $(PKG_LIBS) -lcmocka
$(BUILD)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(ARCHIVE)
	@mkdir -p $(@D); $(CC) $(ALL_CFLAGS) $(LDOPT) -o $@ $< tests/fuzz/replay.c $(ARCHIVE) $(PKG_LIBS)
$(BUILD)/tests/bench/%: tests/bench/%.c $(ARCHIVE)
	@mkdir -p $(@D); $(CC) $(ALL_CFLAGS) $(LDOPT) -o $@ $< $(ARCHIVE) $(PKG_LIBS)

# Checks: `make check` is what CI runs.  T="tests/e2e/smtp.t ..." chooses end-to-end tests.
E2E := $(sort $(wildcard tests/e2e/*.t))
T   ?= $(E2E)
PROVE := prove --exec '' --failures --comments --timer
check: ## install what tests need, build, and run every test
	@$(MAKE) deps-check users
	@$(MAKE) QUIET=1 all $(UNIT)
	@$(MAKE) SAN=1 QUIET=1 check-fuzz-build
	@$(MAKE) check-unit
	@$(MAKE) check-fuzz
	@$(MAKE) check-e2e
check-unit: $(UNIT) ## the C unit tests
	@$(PROVE) $(sort $(UNIT))
check-fuzz-build: $(FUZZ) $(UNIT) ; @:
check-fuzz: ## every fuzz corpus and the unit tests, under ASan and UBSan
	@$(MAKE) SAN=1 QUIET=1 check-fuzz-build
	@ASAN_OPTIONS=detect_leaks=0 tests/run-fuzz-corpus build-san
	@ASAN_OPTIONS=detect_leaks=0 $(PROVE) $(sort $(UNIT:$(BUILD)/%=build-san/%))
check-e2e: all $(TOOLS) ## the tests against the running daemon
	@BUILD=$(BUILD) prove -j2 --exec '' --failures --comments --timer $(T)
check-slow: ## long models, fault injection at every step, and imaptest where IMAPTEST names it
	@$(MAKE) deps-check users
	@$(MAKE) QUIET=1 all $(UNIT) $(TOOLS)
	@BUILD=$(BUILD) prove --exec '' --failures --comments --timer $(sort $(wildcard tests/slow/*.t))
check-clients: ## slow mail clients against the running daemon
	@$(MAKE) deps-check deps-clients users
	@$(MAKE) QUIET=1 all
	@BUILD=$(BUILD) prove --exec '' --failures --comments --timer $(sort $(wildcard tests/clients/*.t))
golden-update: all ## rewrite the expected output of golden tests
	@GOLDEN_UPDATE=1 BUILD=$(BUILD) tests/golden-update

# Fuzzing with libFuzzer: SECONDS a target.
FUZZ_SECONDS ?= 60
fuzz: ## run each fuzz target for FUZZ_SECONDS (60) with libFuzzer
	@$(MAKE) deps-check
	+@tests/run-fuzz $(FUZZ_SECONDS)

bench: ## measure beside Postfix and Dovecot, as ratios
	@$(MAKE) deps-bench
	@$(MAKE) all $(BENCH)
	@BUILD=$(BUILD) tests/bench/run

# Runs the demo host: everything on loopback, ports + 20000, in ./demo.
run: ## install what is missing, build, make a demo site and run it
	@$(MAKE) deps users
	@$(MAKE) QUIET=1 all
	@exec share/demo $(BUILD)

# The users of the roles; as root only.
users:
	@[ "$$(id -u)" != 0 ] || share/create-users
.PHONY: users check-fuzz-build

SBIN := $(DESTDIR)$(PREFIX)/sbin
install: all ## install below DESTDIR (PREFIX=/usr)
	install -d $(SBIN) $(DESTDIR)$(PREFIX)/share/mailadm $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/doc/mailadm $(DESTDIR)/lib/systemd/system $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/mailadm $(BUILD)/mailsvc $(SBIN)/
	ln -sf mailadm $(SBIN)/sendmail
	ln -sf ../sbin/mailadm $(DESTDIR)$(PREFIX)/bin/mailq
	ln -sf ../sbin/mailadm $(DESTDIR)$(PREFIX)/bin/newaliases
	ln -sf ../sbin/sendmail $(DESTDIR)$(PREFIX)/lib/sendmail
	install -m 755 share/create-users share/load-firewall $(DESTDIR)$(PREFIX)/share/mailadm/
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/mailadm/cron share/cron/*
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/share/mailadm/certbot share/certbot/*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/mailadm/examples share/examples/*
	install -m 644 share/systemd/* $(DESTDIR)/lib/systemd/system/
	umask 022; for m in man/*.5; do gzip -9nc $$m > $(DESTDIR)$(PREFIX)/share/man/man5/$${m##*/}.gz; done
	umask 022; for m in man/*.8; do gzip -9nc $$m > $(DESTDIR)$(PREFIX)/share/man/man8/$${m##*/}.gz; done
	install -m 644 README.md ARCHITECTURE.md CHANGELOG.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/mailadm/
	[ -n "$(DESTDIR)" ] || share/create-users

deb: ## build dist/mailadm_VERSION_ARCH.deb
	@$(MAKE) deps
	@$(MAKE) all
	+@share/make-deb $(VERSION) $(BUILD)

format: ## clang-format every source file
	clang-format -i $(wildcard lib/*.[ch] site/*.[ch] mailsvc/*.[ch] mailsvc/*/*.[ch] fwgen/*.[ch] dnsgen/*.[ch] backup/*.[ch] apply/*.[ch] doctor/*.[ch] cli/*.[ch] tests/*/*.c)
lint: ## clang-tidy, and the manual pages
	@printf '%s\n' $(SRC) $(wildcard cli/*.c) | xargs -P $$(nproc) -I @ clang-tidy --quiet @ -- -std=gnu17 -D_GNU_SOURCE -I. -DMAILADM_VERSION='"$(VERSION)"' $(PKG_CFLAGS) 2>/dev/null
	@mandoc -Tlint -W warning man/*

$(BUILD)/tests/tools/%: tests/tools/%.c
	@mkdir -p $(@D); $(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) -O2 -o $@ $<
$(BUILD)/tests/tools/queue_put $(BUILD)/tests/tools/dkim_check: $(BUILD)/tests/tools/%: tests/tools/%.c $(ARCHIVE)
	@mkdir -p $(@D); $(CC) $(ALL_CFLAGS) $(LDOPT) -o $@ $^ $(PKG_LIBS)

clean: ## remove what was built
	rm -rf build build-san build-fuzz

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
