/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of the policy parser: the document (policy_json.c), its protections
 * (policy_json_protection.c), its rules (policy_json_rule.c, policy_json_disjoint.c) and its
 * applications (policy_json_app.c, policy_json_network.c).
 *
 * Included by: those six, sa_json.c for names and suites, and policy_test_json.c.
 */
#ifndef IPSECBPF_POLICY_JSON_H
#define IPSECBPF_POLICY_JSON_H

#include "json_read.h"
#include "name_index.h"
#include "policy_internal.h"

/* A protection's "within": read when all names are known. */
struct within_reading {
	size_t protection;
	struct json_value value;
};

struct policy_reading {
	struct policy *policy;
	struct json_value rules;	/* json NULL: the file has none */
	struct json_value applications;	/* likewise */
	struct within_reading *within;
	size_t within_count;
	struct name_index peer_names, protection_names;	/* when all are known */
};

/* Reads one member of "protections", of a struct policy_reading, but its "within". */
void policy_read_protection(struct json_reader *reader, struct json_value value, void *target);

/* Reads what was put off; protections and peers have been read. */
void policy_read_within(struct json_reader *reader, struct policy_reading *reading);

/* Reads reading->rules; protections and peers have been read. */
void policy_read_rules(struct json_reader *reader, struct policy_reading *reading);

/* Reads reading->applications; protections and peers have been read. */
void policy_read_applications(struct json_reader *reader, struct policy_reading *reading);

/* One of an application's networks. */
struct network_reading {
	const struct policy_reading *document;
	struct application *application;
};
void policy_read_network(struct json_reader *reader, struct json_value value, void *target);

/* Whether anything can be found under this path as it is written; NULL, or why not. */
const char *policy_path_fault(const char *path);

/* A copy of `text` that is to be freed; NULL without memory, which the reader remembers. */
char *policy_keep_text(struct json_reader *reader, const char *text);

/* A json_key's read functions. The first's target is unused, the second's a struct address_list. */
void policy_read_description(struct json_reader *reader, struct json_value value, void *target);
void policy_read_address(struct json_reader *reader, struct json_value value, void *target);

/* Errors at the elements of a selector's list, at `value`, that overlap an earlier one. */
void policy_require_disjoint_addresses(struct json_reader *reader, struct json_value value,
				       const struct address_list *list);
void policy_require_disjoint_ranges(struct json_reader *reader, struct json_value value,
				    const struct port_list *list);

/* A protocol by name or number; false after an error that names the nearest. */
bool policy_read_protocol(struct json_reader *reader, struct json_value value, uint8_t *ret_proto);

/* The same, appended to a list that has each once. */
void policy_add_protocol(struct json_reader *reader, struct json_value value, uint8_t **protocols,
			 size_t *count);

/* A selector's value or values by `read`; none would match nothing, which is an error. */
void policy_read_selector(struct json_reader *reader, struct json_value value,
			  void (*read)(struct json_reader *, struct json_value, void *),
			  void *target);

/* Ports and ranges of them that have nothing in common. */
void policy_read_ports(struct json_reader *reader, struct json_value value, struct port_list *ports);

/* A DSCP by name or number, like a protocol. */
bool policy_read_dscp(struct json_reader *reader, struct json_value value, uint8_t *ret_dscp);
/* Reads "accept_risk" into a uint32_t of RISK_BIT(...). */
void policy_read_risks(struct json_reader *reader, struct json_value value, uint32_t *target);

/* Checks and copies a name: a member's, or a string value. */
bool policy_read_name(struct json_reader *reader, struct json_value value, const char *name,
		      char out[NAME_LEN]);

/* The peer or protection that a value names; false after an error that names the nearest. */
bool policy_read_peer_name(struct json_reader *reader, struct json_value value,
			   const struct policy_reading *reading, size_t *ret_index);
bool policy_read_protection_name(struct json_reader *reader, struct json_value value,
				 const struct policy_reading *reading, size_t *ret_index);

/*
 * The suite that a value names, in either spelling; NULL after an error that names the nearest.
 * One for ESP, one for AH. Shared with SA files.
 */
const struct esp_suite *policy_read_suite(struct json_reader *reader, struct json_value value);
const struct esp_suite *policy_read_ah_suite(struct json_reader *reader, struct json_value value);

/*
 * Appends a zeroed element of `size` octets to the list at *items_pointer (a pointer to the pointer
 * to the first element) and returns it; NULL without memory, which the reader remembers.
 */
void *policy_list_slot(struct json_reader *reader, void *items_pointer, size_t *count, size_t size);

#endif /* IPSECBPF_POLICY_JSON_H */
