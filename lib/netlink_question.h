/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One question to the kernel by netlink, and its whole answer: as little of it as preflight needs.
 *
 * Included by: nic_features.c, net_others.c. No state; a socket for each question.
 */
#ifndef IPSECBPF_NETLINK_QUESTION_H
#define IPSECBPF_NETLINK_QUESTION_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

struct netlink_question {
	struct nlmsghdr header;
	uint8_t body[256];	/* the family's own header, then attributes */
};

/* A question with the family's own header of `len` octets, which is copied. flags: NLM_F_... */
void netlink_question_init(struct netlink_question *question, uint16_t type, uint16_t flags,
			   const void *head, size_t len);
/* Adds an attribute; the caller knows that there is room. */
void netlink_question_add(struct netlink_question *question, uint16_t type, const void *data,
			  uint16_t len);

/* Called for each message of an answer. */
typedef void (*netlink_message_fn)(const struct nlmsghdr *message, void *context);

/* Asks, and waits for the end of the answer, 5 s at most per datagram. 0 or -errno. */
int netlink_question_ask(int family, const struct netlink_question *question, netlink_message_fn fn,
		void *context);

/*
 * The value of an attribute of at least `len` octets behind a family's header of `head_len` octets,
 * or NULL. Not aligned to more than 4.
 */
const void *netlink_attribute(const struct nlmsghdr *message, size_t head_len, uint16_t type,
			      uint16_t len);

/* The same, in the value of another attribute, nested. */
const void *netlink_nested(const void *value, uint16_t type, uint16_t len);

#endif /* IPSECBPF_NETLINK_QUESTION_H */
