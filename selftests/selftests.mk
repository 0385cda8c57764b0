# SPDX-License-Identifier: BSD-2-Clause
# Targets that run tests and benchmarks. Included by the Makefile.

.PHONY: check-unit
check-unit: units
	$(Q)set -e; for t in $(UNITS); do $$t; done
