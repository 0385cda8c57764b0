/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What hosts' names stand for, asked in a process of its own: a child for each, without capabilities
 * and under seccomp, reads what servers answer, and gives back a flat record, which is believed about that
 * name alone, and no further than what is written here.
 *
 * Names with a dot are taken as they are; others are looked for in the domains that resolv.conf says.
 *
 * Included by: names_store.c, tests. Threading: forks; the caller has one thread.
 */
#ifndef IPSECBPF_NAMES_RESOLVER_H
#define IPSECBPF_NAMES_RESOLVER_H

#include "policy.h"

#define NAMES_ADDRESSES_MAX 256	 /* of one name: more is a failure, not a choice among them */
#define NAMES_PROCESSES	    8	 /* at once, so that a few names that time out do not cost all others */
#define NAMES_ONE_S	    12	 /* for one name */
#define NAMES_TIME_S	    20	 /* for all that are asked together */

/* X(id, text) : why a name has no addresses. NONE: it has. */
#define NAMES_FAILURES(X)							\
	X(NONE, "it has addresses")						\
	X(NO_ANSWER, "no answer in time")					\
	X(NO_NAME, "there is no such name")					\
	X(NO_ADDRESS, "the name has no address")				\
	X(SERVER, "the name server fails, or does not answer")			\
	X(PARTLY, "the name server answers for one of IPv4 and IPv6 only")	\
	X(TOO_MANY, "it stands for more than 256 addresses")			\
	X(UNFIT, "it stands for an address that no host has")			\
	X(RESOLVER, "the resolver process failed")

#define X(id, text) NAMES_##id,
enum names_failure { NAMES_FAILURES(X) NAMES_FAILURE_COUNT };
#undef X

const char *names_failure_text(enum names_failure failure);

/* What the child writes: this, then `count` addresses. Host byte order, addresses as on the wire. */
#define NAMES_REPLY_MAGIC 0x6e616d31u
struct names_reply {
	uint32_t magic;
	uint32_t index;		/* of the name in the question */
	uint32_t failure;	/* enum names_failure */
	uint32_t ttl;		/* seconds; 0: not from DNS */
	uint32_t secure;	/* 0 or 1: a validating resolver that is trusted says so (RFC 6840 5.8) */
	uint32_t count;
};

struct names_reply_address {
	uint8_t family;		/* enum ip_family */
	uint8_t pad[3];
	union wire_addr address;
};

#define NAMES_REPLY_MAX (sizeof(struct names_reply) + NAMES_ADDRESSES_MAX * sizeof(struct names_reply_address))

/* Of one name. */
struct names_answer {
	enum names_failure failure;
	struct address_list addresses;	/* sorted, each once; the caller frees items */
	uint32_t ttl;
	bool secure;
	bool asked;	/* false: there was no time left to ask for it at all */
};

/*
 * Takes one record in, of a process that was asked for name `index`. `answer` is NAMES_NO_ANSWER if there
 * was none yet. 0, -EPROTO (nothing is taken: it is not such a record, or the second one), -ENOMEM. Pure.
 */
int names_reply_take(const void *record, size_t len, size_t index, struct names_answer *answer);

/* Asks for all of them, in at most NAMES_TIME_S. *ret_answers is malloc'd, one per name, in any case but
 * -ENOMEM. 0 or -errno (of fork and the like; answers are failures then). */
int names_resolve(const char *const *names, size_t count, struct names_answer **ret_answers);
void names_answers_free(struct names_answer *answers, size_t count);

/* In the child: never returns. names_lookup.c. */
void names_child(const char *name, size_t index, int fd) __attribute__((noreturn));

#endif /* IPSECBPF_NAMES_RESOLVER_H */
