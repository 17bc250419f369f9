# mailadm: one non-recursive Makefile.  `make help` lists the targets.
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

VERSION := 0.1.0
PREFIX  ?= /usr
DESTDIR ?=
CC      ?= cc
SAN     ?=
BUILD   ?= $(if $(SAN),build-san,build)

BUILD_PACKAGES := build-essential pkg-config libevent-dev liblmdb-dev libunbound-dev libconfig-dev libldns-dev \
	libnftnl-dev libmnl-dev libseccomp-dev libcap-ng-dev libssl-dev libidn2-dev libutf8proc-dev libsmartcols-dev \
	libjansson-dev libcrypt-dev
RUN_PACKAGES   := restic curl ca-certificates
CHECK_PACKAGES := libcmocka-dev clang libclang-rt-14-dev clang-format mandoc perl python3 swaks msmtp mutt isync \
	fetchmail bind9 bind9-utils bind9-dnsutils nftables iproute2 procps netcat-openbsd openssl strace
BENCH_PACKAGES := postfix dovecot-imapd dovecot-lmtpd
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
PKGS := libevent libevent_openssl libconfig libldns libnftnl libmnl libseccomp libcap-ng openssl libidn2 \
	libutf8proc smartcols jansson lmdb libunbound
# Deferred, so that `make deps` works before the packages are there.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(PKGS) 2>/dev/null)
PKG_CFLAGS := $(PKG_CFLAGS)
PKG_LIBS   := $(if $(PKG_LIBS),$(PKG_LIBS),) -lcrypt -lpthread
ifdef SAN
OPT  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDOPT := -fsanitize=address,undefined -pie
else
OPT  := -O2 -g -D_FORTIFY_SOURCE=2 $(HARDEN)
LDOPT := -pie -Wl,-z,relro,-z,now
endif
CFLAGS  ?=
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -DMAILADM_VERSION='"$(VERSION)"' $(WARN) $(if $(WERROR),-Werror) $(OPT) $(PKG_CFLAGS) $(CFLAGS)

SRC := $(wildcard lib/*.c site/*.c fwgen/*.c dnsgen/*.c backup/*.c mailsvc/*.c mailsvc/*/*.c)
MAIN_SVC := $(BUILD)/obj/mailsvc/main.o
OBJ := $(filter-out $(MAIN_SVC),$(SRC:%.c=$(BUILD)/obj/%.o))
CLI_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cli/*.c))
ARCHIVE := $(BUILD)/libmailadm.a
UNIT := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/bench_*.c))

.PHONY: all help run check check-unit check-e2e check-fuzz fuzz bench install deb deps deps-check deps-bench clean format lint golden-update
all: $(BUILD)/mailadm $(BUILD)/mailsvc ## build mailadm and mailsvc

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done
	@echo '  SAN=1 builds with ASan and UBSan into build-san; BUILD=DIR names another folder.'

deps: ; $(call need,$(BUILD_PACKAGES) $(RUN_PACKAGES))
deps-check: ; $(call need,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(CHECK_PACKAGES))
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

clean: ## remove what was built
	rm -rf build build-san build-fuzz

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
