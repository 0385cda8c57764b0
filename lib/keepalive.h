/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NAT-keepalive packets of ESP in UDP (RFC 3948 2.3). Included by: worker_out.c. Pure.
 */
#ifndef IPSECBPF_KEEPALIVE_H
#define IPSECBPF_KEEPALIVE_H

#include "sa_runtime.h"

#define KEEPALIVE_LEN_MAX (40 + 8 + 1)	/* IPv6, UDP, the one octet */

/* Writes an IP packet between the ends of an SA in UDP to `ip`, with room for KEEPALIVE_LEN_MAX
 * octets. Returns its octets. */
uint32_t keepalive_write(const struct sa_runtime *sa, uint8_t *ip);

#endif /* IPSECBPF_KEEPALIVE_H */
