# SPDX-License-Identifier: BSD-2-Clause
# make             build everything into $(B)
# make deps        install what building and testing need (Debian, Ubuntu)
# make check       all tests but those that need other Debian releases' kernels
# make check-unit | check-bpf | check-net | check-vm     one layer
# make check-long  what takes minutes: policy reloaded 10,000 times under traffic (check-long-reload; check: as
#                  often as a minute allows); the classifier against a naive reference, with fresh random rules
#                  (check-long-reference; SEED=n repeats a run, ROUNDS=n makes it longer)
# make check-kernels    the essential tests on Debian's 6.12 and newest kernels
# make demo | bench | asan | install | clean | help
# V=1 shows the commands, B=dir builds elsewhere.

B ?= build
CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
SAN ?=

ifeq ($(V),1)
Q :=
say :=
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2);
endif

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wundef -Wformat=2 -Wcast-qual -fno-common -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu17 $(WARN) $(CFLAGS) $(SAN) -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 \
	-fstack-protector-strong -fPIE -I. -I$(B)
ifneq ($(SAN),)
ALL_CFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(ALL_CFLAGS))
endif
LIBS := -lresolv -lxdp -lbpf -lelf -lz -ljansson -lcrypto -lIPSec_MB -lseccomp -lcap-ng -lmnl -lm
# Of the command alone: `metrics --listen`.
CTL_LIBS := -lmicrohttpd
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now $(SAN) $(LDFLAGS)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
# No object uses all that it shares with the others by headers.
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -std=gnu17 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-unused-function \
	-I. -I/usr/include/$(MULTIARCH)

LIB_SRC := $(wildcard lib/*.c)
CTL_SRC := $(wildcard ctl/*.c)
BPF_SRC := $(wildcard bpf/*.bpf.c)
UNIT_SRC := $(wildcard selftests/unit/test_*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
CTL_OBJ := $(CTL_SRC:%.c=$(B)/%.o)
SKELS := $(BPF_SRC:bpf/%.bpf.c=$(B)/%.skel.h)
UNITS := $(UNIT_SRC:selftests/unit/%.c=$(B)/unit/%)

.PHONY: all
all: $(B)/ipsecbpf

.PHONY: deps
deps:
	$(Q)tools/deps

$(B)/ipsecbpf: $(CTL_OBJ) $(B)/libipsecbpf.a
	$(call say,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(CTL_LIBS)

$(B)/libipsecbpf.a: $(LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c | $(SKELS)
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The hot loops profit from vectorisation, which -O2 of gcc 12 does sparingly.
$(B)/lib/checksum.o $(B)/lib/rule_space_tree.o: CFLAGS += -O3

.SECONDARY:

$(B)/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h)
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $< && \
		$(BPFTOOL) gen object $@ $@.tmp && rm -f $@.tmp

$(B)/%.skel.h: $(B)/%.bpf.o
	$(call say,SKEL,$@)$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf > $@.tmp && mv $@.tmp $@

# Unit tests: one program per test_*.c, cmocka, no privilege needed.
$(B)/unit/%: selftests/unit/%.c $(B)/libipsecbpf.a
	$(call say,UNIT,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(UNIT_OBJ) $(B)/libipsecbpf.a $(LIBS) -lcmocka

.PHONY: units
units: $(UNITS)

include ctl/ctl.mk
include selftests/selftests.mk

-include $(LIB_OBJ:.o=.d) $(CTL_OBJ:.o=.d) $(UNITS:=.d)

# The unit tests under the sanitizers, in a tree of their own.
.PHONY: asan
asan:
	$(Q)$(MAKE) --no-print-directory B=$(B)/asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=all" check-unit

.PHONY: clean
clean:
	rm -rf $(B)
