/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the rules of a policy were written, kept behind its canonical text in the map policy_text:
 * at the next multiple of 8 a struct policy_source, the line of each rule, then of each
 * application, its matches and its networks with their protections, the name of the file with its
 * NUL. Host byte order. A policy that came from no file, or was put there by a version that kept no
 * more than the text, has zeroes there.
 *
 * Included by: policy_store.c. Threading: pure functions.
 */
#ifndef IPSECBPF_POLICY_SOURCE_H
#define IPSECBPF_POLICY_SOURCE_H

#include "policy.h"

#define POLICY_SOURCE_MAGIC	0x31637273u	/* "src1" */
#define POLICY_SOURCE_FILE_MAX	4096		/* octets with the NUL, as PATH_MAX */

struct policy_source {
	uint32_t magic;
	uint32_t lines;		/* that follow, from 1 */
	uint32_t file_len;	/* with the NUL */
	uint32_t pad;
};

/* Octets that text and source take together; of the text alone if there is no source to keep. */
size_t policy_source_end(const struct policy *policy, size_t text_len);

/* Writes it behind the text: policy_source_end() octets of `area`, which is zeroed. */
void policy_source_put(const struct policy *policy, void *area, size_t text_len);

/*
 * Gives the policy that was read from the text its file, and its rules and applications the lines
 * that they have there; so the rules that those have come to. What is not whole and of this policy
 * is passed over: lines are those of the canonical text then. 0 or -ENOMEM.
 */
int policy_source_get(struct policy *policy, const void *area, size_t area_len, size_t text_len);

#endif /* IPSECBPF_POLICY_SOURCE_H */
