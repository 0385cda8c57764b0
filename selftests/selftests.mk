# SPDX-License-Identifier: BSD-2-Clause
# Targets that run tests and benchmarks. Included by the Makefile.

.PHONY: check-unit
check-unit: units
	$(Q)set -e; for t in $(UNITS); do $$t; done

# Needs root: a TAP in a network namespace of the test's own.
$(B)/net/test_host_port: selftests/net/test_host_port.c $(B)/libipsecbpf.a
	$(call say,TEST,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(B)/libipsecbpf.a $(LIBS) -lcmocka

.PHONY: check-host-port
check-host-port: $(B)/net/test_host_port
	$(Q)$<

$(B)/bench/%: selftests/bench/%.c $(B)/libipsecbpf.a
	$(call say,BENCH,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS_ALL) -o $@ $< \
		$(B)/libipsecbpf.a $(LIBS)

.PHONY: bench-segment
bench-segment: $(B)/bench/bench_segment
	$(Q)$<
