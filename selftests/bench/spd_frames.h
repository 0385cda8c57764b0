/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets for a rule set, as octets. Included by: spd_bench.c. */
#ifndef IPSECBPF_SPD_FRAMES_H
#define IPSECBPF_SPD_FRAMES_H

#include "selftests/spd/rulegen.h"
#include "spd_bench.h"

/*
 * Outbound packets that the set's rules are asked about, no two of one flow: most within a rule, some
 * at the corners of one, some anywhere. Always the same for a set. At most `room`; fewer if the set
 * gives no more. 0 or -errno.
 */
int frames_draw(const struct gen_set *set, struct bench_frame *frames, size_t room,
		size_t *ret_count);

#endif /* IPSECBPF_SPD_FRAMES_H */
