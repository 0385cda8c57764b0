# SPDX-License-Identifier: BSD-2-Clause
# Targets that run tests and benchmarks. Included by the Makefile.

# All layers but other releases' kernels; the last line adds them up.
.PHONY: check
check: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(PYTHON) -B selftests/check $(MAKE) check-unit check-cli check-bpf check-host-port check-net check-vm

.PHONY: check-unit
check-unit: units
	$(Q)set -e; for t in $(UNITS); do $$t; done
	$(Q)$(PYTHON) -B -m pytest -q -p no:cacheprovider selftests/unit/test_schemas.py \
		selftests/unit/test_interop_table.py

# Rule sets and packets for the classifier: linked into its tests and benchmarks, and a program.
RULEGEN_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out %_main.c,$(wildcard selftests/spd/rulegen*.c)))
# ... and the naive reference that it has to be equal to.
LINEAR_OBJ := $(B)/selftests/spd/linear.o $(RULEGEN_OBJ)

$(B)/spd/rulegen: $(B)/selftests/spd/rulegen_main.o $(RULEGEN_OBJ) $(B)/libipsecbpf.a
	$(call say,LD,$@)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/unit/test_rulegen: $(RULEGEN_OBJ)
$(B)/unit/test_rulegen: UNIT_OBJ := $(RULEGEN_OBJ)
$(B)/unit/test_spd_tree: $(LINEAR_OBJ)
$(B)/unit/test_spd_tree: UNIT_OBJ := $(LINEAR_OBJ)

-include $(LINEAR_OBJ:.o=.d) $(B)/selftests/spd/rulegen_main.d

# What is tested against which other implementation, from the tests themselves.
.PHONY: interop-table
interop-table:
	$(Q)$(PYTHON) -B tools/interop-table

# Needs root: a TAP in a network namespace of the test's own.
$(B)/net/test_host_port: selftests/net/test_host_port.c $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(B)/libipsecbpf.a $(LIBS) -lcmocka

.PHONY: check-host-port
check-host-port: $(B)/net/test_host_port
	$(Q)$<

# Microbenchmarks, one program per bench_*.c. No privilege needed.
$(B)/bench/%: selftests/bench/%.c $(B)/libipsecbpf.a
	$(call say,BENCH,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(B)/libipsecbpf.a $(LIBS)

.PHONY: bench-segment
bench-segment: $(B)/bench/bench_segment
	$(Q)$<

# What reading, checking and showing policies costs.
.PHONY: bench-policy
bench-policy: $(B)/bench/bench_policy
	$(Q)for n in 10 1000 10000 100000; do \
		$(PYTHON) -B selftests/bench/make_policy $$n > $(B)/bench/policy-$$n.json; done
	$(Q)$< $(foreach n,10 1000 10000 100000,$(B)/bench/policy-$n.json)

# P1: what ESP costs above the bare crypto, per packet.
.PHONY: bench-esp
bench-esp: $(B)/bench/bench_esp
	$(Q)$<

# What the network tests drive lib/net_watch with.
$(B)/net/net_watch_driver: selftests/net/net_watch_driver.c $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(B)/libipsecbpf.a $(LIBS)

# The eavesdropper of the demo, the network tests and the benchmarks.
$(B)/wirecount: selftests/net/wirecount.c selftests/net/frame_kind.c selftests/net/frame_kind.h
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $(filter %.c,$^)

# Runs a command as on a kernel that lacks something; see its head.
$(B)/net/deny: selftests/net/deny.c
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $< -lseccomp

# Namespaces, real daemons, bytes on the wire. Root. NETTEST="-k demo -x" passes options to pytest,
# NETJOBS=1 runs one test at a time. Most of the time is waiting: more jobs than two cores pay.
# setpriv: should make be killed, pytest ends as well, in good order.
NETJOBS ?= 3
.PHONY: check-net
check-net: all $(B)/wirecount $(B)/net/net_watch_driver $(B)/net/deny $(B)/bench/app_loops
	$(Q)export B=$(abspath $(B)) && \
		exec setpriv --pdeathsig TERM $(PYTHON) -B -m pytest -q -p no:cacheprovider \
		$(if $(filter-out 1,$(NETJOBS)),-n $(NETJOBS) --max-worker-restart=0) selftests/net $(NETTEST)

# Installs first, then starts make anew: what it finds out about the compiler is right then.
.PHONY: demo demo-run
demo: deps
	$(Q)$(MAKE) --no-print-directory demo-run

demo-run: all $(B)/wirecount
	$(Q)B=$(abspath $(B)) $(PYTHON) -B selftests/demo

# BENCH=tcp (the default), latency, spd, presence or app: selftests/bench/bench_$(BENCH). ROUNDS=n makes it
# shorter or longer.
BENCH ?= tcp
BENCH_NEEDS_spd := $(B)/bench/spd_bench
BENCH_NEEDS_app := $(B)/bench/app_loops
.PHONY: bench bench-run
bench: deps
	$(Q)$(MAKE) --no-print-directory bench-run

bench-run: all $(BENCH_NEEDS_$(BENCH))
	$(Q)B=$(abspath $(B)) $(PYTHON) -B selftests/bench/bench_$(BENCH)

$(B)/bench/spd_bench.bpf.o: selftests/bench/spd_bench.bpf.c selftests/bench/spd_bench.h \
		$(wildcard bpf/*.h)
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $< && \
		$(BPFTOOL) gen object $@ $@.tmp && rm -f $@.tmp

SPD_BENCH_SRC := $(addprefix selftests/bench/,spd_bench.c spd_subject.c spd_load.c spd_frames.c) \
	selftests/bpf/datapath.c $(filter-out %_main.c,$(wildcard selftests/spd/rulegen*.c))
$(B)/bench/spd_bench: $(SPD_BENCH_SRC) $(B)/bench/spd_bench.skel.h $(B)/libipsecbpf.a \
		$(wildcard selftests/bench/spd_*.h selftests/spd/*.h selftests/bpf/*.h)
	$(call say,BENCH,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c %.a,$^) $(LIBS)

$(B)/bench/app_empty.bpf.o: selftests/bench/app_empty.bpf.c
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $< && \
		$(BPFTOOL) gen object $@ $@.tmp && rm -f $@.tmp

$(B)/bench/app_loops: selftests/bench/app_loops.c selftests/bench/app_loops_arm.c \
		selftests/bench/app_loops.h $(B)/bench/app_empty.skel.h
	$(call say,BENCH,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c,$^) $(LIBS)

# Stock Debian kernels in QEMU, by emulation; kernel XFRM is the peer. GUESTTEST="-k tcp -x" passes
# options to pytest; check-vm-harness has XFRM on both sides, which tests the tests.
GUESTTEST ?=
.PHONY: check-vm check-kernels check-vm-harness
check-vm: all
	$(Q)B=$(B) selftests/vm/test-guest bookworm -- $(GUESTTEST)

check-kernels: all
	$(Q)B=$(B) selftests/vm/test-guest trixie sid -- $(GUESTTEST)

check-vm-harness:
	$(Q)B=$(B) selftests/vm/test-guest --self-proof bookworm -- $(GUESTTEST)

# BPF_PROG_TEST_RUN: packets as data through the three programs, attached to nothing. Root.
BPF_TESTS := $(addprefix $(B)/bpf/,run_fixtures cross_check flip_under_load rule_counters \
	reload_under_load)
$(BPF_TESTS): $(B)/bpf/%: selftests/bpf/%.c selftests/bpf/datapath.c selftests/bpf/datapath.h \
		$(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c %.a,$^) $(LIBS)

# It counts in the midst of an apply.
$(B)/bpf/rule_counters: private LDFLAGS_ALL += -Wl,--wrap=policy_flip

$(B)/bpf/reload_under_load: selftests/bpf/numbered_policy.c selftests/bpf/numbered_policy.h

# The classifier alone: questions by the thousand to bpf/spd.h.
$(B)/bpf/spd_probe.bpf.o: selftests/bpf/spd_probe.bpf.c selftests/bpf/spd_probe.h $(wildcard bpf/*.h)
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $< && \
		$(BPFTOOL) gen object $@ $@.tmp && rm -f $@.tmp

PROBE_TESTS := $(B)/bpf/spd_walk $(B)/bpf/flow_cache
$(PROBE_TESTS): $(B)/bpf/%: selftests/bpf/%.c selftests/bpf/probe.c selftests/bpf/probe.h \
		selftests/bpf/datapath.c $(B)/bpf/spd_probe.skel.h $(LINEAR_OBJ) $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c %.o %.a,$^) $(LIBS)

# What is noted of sockets, on all CPUs at once.
$(B)/bpf/app_entries_probe.bpf.o: selftests/bpf/app_entries_probe.bpf.c \
		selftests/bpf/app_entries_probe.h $(wildcard bpf/*.h)
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $< && \
		$(BPFTOOL) gen object $@ $@.tmp && rm -f $@.tmp

$(B)/bpf/app_entries: selftests/bpf/app_entries.c selftests/bpf/app_entries_probe.h \
		$(B)/bpf/app_entries_probe.skel.h $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c %.a,$^) $(LIBS)

# Applications: policies written by hand, in the programs of the product.
APP_TESTS := $(addprefix $(B)/bpf/,app_identity app_packets app_sockets)
$(APP_TESTS): $(B)/bpf/%: selftests/bpf/%.c selftests/bpf/app_world.c selftests/bpf/app_world.h \
		selftests/bpf/app_testing.h selftests/bpf/datapath.c selftests/bpf/datapath.h $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ \
		$(filter %.c %.a,$^) $(LIBS)

$(B)/bpf/fixtures.json: selftests/bpf/expand.py selftests/bpf/policies.json \
		$(wildcard selftests/bpf/fixtures/*.json)
	$(call say,GEN,$@)mkdir -p $(@D) && $(PYTHON) -B $< $(wildcard selftests/bpf/fixtures/*.json) \
		> $@.tmp && mv $@.tmp $@

.PHONY: check-bpf
check-bpf: $(BPF_TESTS) $(PROBE_TESTS) $(APP_TESTS) $(B)/bpf/app_entries \
		$(B)/bpf/fixtures.json
	$(Q){ $(B)/bpf/run_fixtures $(B)/bpf/fixtures.json; $(B)/bpf/cross_check; \
		$(B)/bpf/flip_under_load; $(B)/bpf/rule_counters; $(B)/bpf/spd_walk; $(B)/bpf/flow_cache; \
		$(B)/bpf/app_identity; $(B)/bpf/app_packets; $(B)/bpf/app_sockets; \
		$(B)/bpf/app_entries; \
		$(B)/bpf/reload_under_load $(RELOADS) $(RELOAD_SECONDS); } | awk ' \
		/^[0-9]+ passed, [0-9]+ failed$$/ { passed += $$1; failed += $$3; runs++; next } \
		{ print } \
		END { failed += runs != 11; print passed + 0 " passed, " failed " failed"; \
		      exit failed > 0 }'

# Reloads under traffic: in check-bpf as many as there is time for, but at least 1000; then all.
RELOADS := 10000
RELOAD_SECONDS := 60

.PHONY: check-long check-long-reload
check-long: check-long-reload
check-long-reload: $(B)/bpf/reload_under_load
	$(Q)$< $(RELOADS)

# The classifier, and what applications come to, against naive references: other rules, other packets each
# time. Root.
ROUNDS_LONG = $(or $(ROUNDS),30)

.PHONY: check-long-reference check-long-unit check-long-walk
check-long: check-long-reference
check-long-reference: $(B)/unit/test_spd_tree $(B)/unit/test_policy_apps $(B)/bpf/spd_walk
	$(Q)seed="$(SEED)"; : "$${seed:=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"; \
		echo "make check-long-reference SEED=$$seed ROUNDS=$(ROUNDS_LONG) repeats this"; \
		SEED=$$seed ROUNDS=$(ROUNDS_LONG) $(PYTHON) -B selftests/check $(MAKE) \
			check-long-unit check-long-walk

check-long-unit: $(B)/unit/test_spd_tree $(B)/unit/test_policy_apps
	$(Q)set -e; for t in $^; do $$t; done

check-long-walk: $(B)/bpf/spd_walk
	$(Q)$<
