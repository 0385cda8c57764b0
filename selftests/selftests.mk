# SPDX-License-Identifier: BSD-2-Clause
# Targets that run tests and benchmarks. Included by the Makefile.

.PHONY: check-unit
check-unit: units
	$(Q)set -e; for t in $(UNITS); do $$t; done

# The eavesdropper of the demo, the network tests and the benchmarks.
$(B)/wirecount: selftests/net/wirecount.c
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $<

# Namespaces, real daemons, bytes on the wire. Root. NETTEST="-k demo -x" passes options to pytest.
.PHONY: check-net
check-net: all $(B)/wirecount
	$(Q)B=$(abspath $(B)) $(PYTHON) -B -m pytest -q -p no:cacheprovider selftests/net $(NETTEST)

.PHONY: demo
demo: all $(B)/wirecount
	$(Q)B=$(abspath $(B)) $(PYTHON) -B selftests/demo

.PHONY: bench
bench: all
	$(Q)B=$(abspath $(B)) $(PYTHON) -B selftests/bench/bench_tcp
