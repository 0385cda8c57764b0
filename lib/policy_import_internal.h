/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a text in the paper's language says. Included by: policy_import*.c.
 */
#ifndef IPSECBPF_POLICY_IMPORT_INTERNAL_H
#define IPSECBPF_POLICY_IMPORT_INTERNAL_H

#include "policy.h"
#include "policy_import.h"

#define IMPORT_TEXT_MAX	    (1u << 20)	/* octets of a file */
#define IMPORT_PROGRAMS_MAX 10000	/* of a file */
#define IMPORT_WORD_MAX	    1024	/* characters of a name, with the NUL */
#define IMPORT_ERRORS_MAX   100		/* listed; the text is not read to its end then */

enum import_class { IMPORT_TRUSTED, IMPORT_UNTRUSTED, IMPORT_PROTECTED };

/* A protection-item. */
struct import_item {
	bool local_any, remote_any;
	uint16_t local, remote;		/* ports; only if not any */
	bool encryption;		/* otherwise authentication */
	bool optional;			/* otherwise mandatory */
	struct position at;
};

/* A protection-setting. */
struct import_protection {
	char *name;
	struct import_item *items;
	size_t item_count;
	bool used;
	struct position at;
};

struct import_network {
	char *remote;			/* as written, without blanks */
	bool is_name;			/* of a host; otherwise `range` */
	struct address_range range;
	enum import_class class;
	char *protection_name;		/* of IMPORT_PROTECTED */
	size_t protection;		/* its index, once looked up */
	struct position at, protection_at;
};

struct import_program {
	char *name;			/* as written */
	char *path;			/* once found */
	struct position at;
};

struct import_application {
	char name[NAME_LEN];		/* of the JSON; given with the paths */
	struct import_program *programs;
	size_t program_count;
	struct import_network *networks;
	size_t network_count;
	struct import_protection *protections;
	size_t protection_count;
	struct position at;
};

/* A host that SAs are with. */
struct import_peer {
	char name[NAME_LEN];
	struct address_range *addresses;
	size_t address_count;
	bool given;			/* by --peer; otherwise a protected network of one host */
};

struct import {
	const char *file;
	struct ipsecbpf_report *report;
	size_t errors;
	bool no_memory;			/* all else is void */
	struct import_application *applications;
	size_t application_count, program_count;
	struct import_peer *peers;
	size_t peer_count;
};

/* Reads the whole text; errors are counted in the import. */
void import_read(struct import *import, const char *text, size_t len);

/* Resolves names of protections, programs and peers; errors and warnings. */
void import_check(struct import *import, const struct policy_import_opts *opts);

/* A zeroed element at the end of a list, or NULL (no_memory is set). */
void *import_slot(struct import *import, void *items_pointer, size_t *count, size_t size);

void import_report(struct import *import, enum report_level level, struct position at,
		   const char *next, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
#define import_error(import, at, next, ...) \
	import_report(import, REPORT_ERROR, at, next, __VA_ARGS__)

#endif /* IPSECBPF_POLICY_IMPORT_INTERNAL_H */
