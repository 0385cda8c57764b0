/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of the SA file's parser: the document and an SA's plain keys (sa_json.c), suite and
 * keys (sa_json_key.c), what concerns the outer headers (sa_json_outer.c), limits
 * (sa_json_limits.c), and what two SAs of a file may not share (sa_json_pairs.c).
 *
 * Included by: those files.
 * Ownership:   everything is the parser's, for one file. Keys are in sa_config only, which the
 *              parser wipes if the file is refused.
 */
#ifndef IPSECBPF_SA_JSON_H
#define IPSECBPF_SA_JSON_H

#include "ipsecbpf.h"
#include "json_read.h"

/*
 * One SA being read. What a value means may depend on keys that stand behind it in the text, so
 * such values are kept until the whole object has been seen; json NULL: not in the file.
 */
struct sa_reading {
	struct sa_config *sa;
	const struct esp_suite *suite;	/* NULL until finish_suite(), and if it is not known */
	struct json_value self, src, dst, suite_at, key, auth_key;
	struct json_value encap, follow_peer, dscp, df, next_hop;
	bool allow_legacy;
};

/* The whole file being read. */
struct file_reading {
	struct sa_file *file;
	struct position *at;	/* of each SA, for errors between two of them */
};

/* A single address that a host can have; false after an error. */
bool sa_json_address(struct json_reader *reader, struct json_value value, uint8_t *ret_family,
		     union wire_addr *ret_addr);

/* Read functions of an SA's keys (struct json_key); the target is the struct sa_reading. */
void sa_json_suite(struct json_reader *reader, struct json_value value, void *target);
void sa_json_key(struct json_reader *reader, struct json_value value, void *target);
void sa_json_auth_key(struct json_reader *reader, struct json_value value, void *target);
void sa_json_encap(struct json_reader *reader, struct json_value value, void *target);
void sa_json_dscp(struct json_reader *reader, struct json_value value, void *target);
void sa_json_df(struct json_reader *reader, struct json_value value, void *target);
void sa_json_next_hop(struct json_reader *reader, struct json_value value, void *target);
void sa_json_limits(struct json_reader *reader, struct json_value value, void *target);

/* To be called once the object has been read, in this order. */
void sa_json_finish_keys(struct json_reader *reader, struct sa_reading *reading);
void sa_json_finish_outer(struct json_reader *reader, const struct sa_reading *reading);

/* Only for files without other errors: addresses and keys are then all there. 0 or -ENOMEM. */
int sa_json_check_pairs(struct json_reader *reader, const struct file_reading *reading);

#endif /* IPSECBPF_SA_JSON_H */
