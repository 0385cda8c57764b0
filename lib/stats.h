/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading counters. Included by: stats.c, status.c, monitor.c. */
#ifndef IPSECBPF_STATS_LIB_H
#define IPSECBPF_STATS_LIB_H

#include "ipsecbpf.h"
#include "pin.h"

/* As ipsecbpf_stats(), on open pins. 0 or -errno. */
int stats_read(const struct pins *pins, struct ipsecbpf_stats *ret_stats);

#endif /* IPSECBPF_STATS_LIB_H */
