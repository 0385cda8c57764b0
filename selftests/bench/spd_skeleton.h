/* SPDX-License-Identifier: BSD-2-Clause */
/* The generated skeleton of spd_bench.bpf.c, without the warnings we ask of our own code.
 * Included by: spd_bench.c, spd_subject.c. */
#ifndef IPSECBPF_SPD_SKELETON_H
#define IPSECBPF_SPD_SKELETON_H

#include "spd_bench.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "bench/spd_bench.skel.h"
#pragma GCC diagnostic pop

#endif /* IPSECBPF_SPD_SKELETON_H */
