// SPDX-License-Identifier: BSD-2-Clause
#include "netlink_question.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define REPLY_MAX 32768

void netlink_question_init(struct netlink_question *question, uint16_t type, uint16_t flags,
			   const void *head, size_t len)
{
	*question = (struct netlink_question){
		.header = { .nlmsg_len = NLMSG_LENGTH((uint32_t)len),
			    .nlmsg_type = type,
			    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
	};
	memcpy(question->body, head, len);
}

void netlink_question_add(struct netlink_question *question, uint16_t type, const void *data,
			  uint16_t len)
{
	const struct nlattr head = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type };
	uint8_t *at = (uint8_t *)question + NLMSG_ALIGN(question->header.nlmsg_len);

	memcpy(at, &head, sizeof(head));
	memcpy(at + NLA_HDRLEN, data, len);
	question->header.nlmsg_len =
		NLMSG_ALIGN(question->header.nlmsg_len) + NLA_ALIGN(head.nla_len);
}

/* Looks at one datagram. 1: more to come, 0: that was all, or -errno. */
static int read_messages(const struct nlmsghdr *message, uint32_t len, netlink_message_fn fn,
			 void *context)
{
	for (; NLMSG_OK(message, len); message = NLMSG_NEXT(message, len)) {
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		if (message->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
		fn(message, context);
		if (!(message->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return 1;
}

int netlink_question_ask(int family, const struct netlink_question *question, netlink_message_fn fn,
			 void *context)
{
	static const struct timeval patience = { .tv_sec = 5 };
	_Alignas(struct nlmsghdr) uint8_t reply[REPLY_MAX];
	int err = 1, fd;
	ssize_t len;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    send(fd, question, question->header.nlmsg_len, 0) < 0)
		err = -errno;
	while (err > 0) {
		len = recv(fd, reply, sizeof(reply), 0);
		err = len < 0 ? -errno
			      : read_messages((const void *)reply, (uint32_t)len, fn, context);
	}
	close(fd);
	return err;
}

static const void *find(const uint8_t *at, const uint8_t *end, uint16_t type, uint16_t len)
{
	struct nlattr head;

	while (end - at >= (ptrdiff_t)sizeof(head)) {
		memcpy(&head, at, sizeof(head));
		if (head.nla_len < NLA_HDRLEN || head.nla_len > end - at)
			return NULL;
		if ((head.nla_type & NLA_TYPE_MASK) == type && head.nla_len >= NLA_HDRLEN + len)
			return at + NLA_HDRLEN;
		if (NLA_ALIGN(head.nla_len) > end - at)
			return NULL;
		at += NLA_ALIGN(head.nla_len);
	}
	return NULL;
}

const void *netlink_attribute(const struct nlmsghdr *message, size_t head_len, uint16_t type,
			      uint16_t len)
{
	const uint8_t *start = (const uint8_t *)message;

	if (message->nlmsg_len < NLMSG_LENGTH(NLMSG_ALIGN((uint32_t)head_len)))
		return NULL;
	return find(start + NLMSG_LENGTH(NLMSG_ALIGN((uint32_t)head_len)),
		    start + message->nlmsg_len, type, len);
}

const void *netlink_nested(const void *value, uint16_t type, uint16_t len)
{
	const uint8_t *at = value;
	struct nlattr outer;

	memcpy(&outer, at - NLA_HDRLEN, sizeof(outer));
	return find(at, at - NLA_HDRLEN + outer.nla_len, type, len);
}
