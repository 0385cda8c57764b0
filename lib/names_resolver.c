// SPDX-License-Identifier: BSD-2-Clause
/* The resolver as its parent sees it. */
#include "names_resolver.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "policy_internal.h"
#include "sandbox.h"

#define NS_PER_MS 1000000u

const char *names_failure_text(enum names_failure failure)
{
#define X(id, text) [NAMES_##id] = text,
	static const char *const texts[] = { NAMES_FAILURES(X) };
#undef X

	return failure < NAMES_FAILURE_COUNT ? texts[failure] : "unknown";
}

/* ---- records ------------------------------------------------------------------------------- */

/* Could a host have it? Loopback addresses are this host's own: /etc/hosts has such names. */
static bool is_fit(uint8_t family, struct addr128 addr)
{
	if (family == FAMILY_V4)
		return addr.lo && addr.lo >> 28 != 0xe && addr.lo != 0xffffffff;
	return (addr.hi || addr.lo) && addr.hi >> 56 != 0xff &&
	       (addr.hi || addr.lo >> 32 != 0xffff);	/* v4-mapped: in no packet */
}

static int compare_ranges(const void *a, const void *b)
{
	const struct address_range *x = a, *y = b;

	return x->family != y->family ? (x->family > y->family) - (x->family < y->family) :
					addr128_compare(x->lo, y->lo);
}

static void sort_addresses(struct address_list *list)
{
	size_t count = 0;

	qsort(list->items, list->count, sizeof(*list->items), compare_ranges);
	for (size_t i = 0; i < list->count; i++)
		if (!i || compare_ranges(&list->items[i], &list->items[count - 1]))
			list->items[count++] = list->items[i];
	list->count = count;
}

static bool read_address(const char *at, struct address_range *ret_range)
{
	struct names_reply_address from;

	memcpy(&from, at, sizeof(from));
	if (from.family >= FAMILY_COUNT)
		return false;
	ret_range->family = from.family;
	ret_range->lo = addr128_from_wire((enum ip_family)from.family, &from.address);
	ret_range->hi = ret_range->lo;
	return true;
}

static bool is_reply(const struct names_reply *reply, size_t len, size_t names)
{
	return reply->magic == NAMES_REPLY_MAGIC && reply->index < names &&
	       reply->failure < NAMES_FAILURE_COUNT && reply->failure != NAMES_NO_ANSWER &&
	       reply->secure <= 1 && reply->count <= NAMES_ADDRESSES_MAX &&
	       (reply->failure == NAMES_NONE) == (reply->count > 0) &&
	       len == sizeof(*reply) + reply->count * sizeof(struct names_reply_address);
}

int names_reply_take(const void *record, size_t len, struct names_answer *answers, size_t names)
{
	struct address_list list = { 0 };
	struct names_reply reply;
	struct names_answer *answer;
	bool fit = true;

	if (len < sizeof(reply))
		return -EPROTO;
	memcpy(&reply, record, sizeof(reply));
	if (!is_reply(&reply, len, names) || answers[reply.index].failure != NAMES_NO_ANSWER)
		return -EPROTO;
	list.items = calloc(reply.count ? reply.count : 1, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	for (; list.count < reply.count; list.count++) {
		const char *at = (const char *)record + sizeof(reply) +
				 list.count * sizeof(struct names_reply_address);
		struct address_range *range = &list.items[list.count];

		if (!read_address(at, range)) {
			free(list.items);
			return -EPROTO;
		}
		fit &= is_fit(range->family, range->lo);
	}
	sort_addresses(&list);
	answer = &answers[reply.index];
	*answer = (struct names_answer){ .failure = (enum names_failure)reply.failure };
	if (!fit)
		answer->failure = NAMES_UNFIT;
	if (answer->failure != NAMES_NONE) {
		free(list.items);
		return 0;
	}
	answer->addresses = list;
	answer->ttl = reply.ttl;
	answer->secure = reply.secure;
	return 0;
}

/* ---- processes ----------------------------------------------------------------------------- */

struct resolver {
	pid_t pid;
	int fd;
};

struct question {
	const char *const *names;
	size_t count, step;
};

static int start(struct resolver *resolver, const struct question *question, size_t first)
{
	int pair[2], keep[1], parent = (int)getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	resolver->pid = fork();
	if (!resolver->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep[0] = pair[1];
		if (getppid() != parent || sandbox_close_others(keep, 1))
			_exit(1);
		names_child(question->names, question->count, first, question->step, pair[1]);
	}
	close(pair[1]);
	if (resolver->pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	resolver->fd = pair[0];
	return 0;
}

static void end(struct resolver *resolver)
{
	close(resolver->fd);
	kill(resolver->pid, SIGKILL);
	while (waitpid(resolver->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Reads one record, or notes that there will be none any more. One that lies is not heard again. */
static void hear(struct pollfd *wait, struct names_answer *answers, size_t count)
{
	char record[NAMES_REPLY_MAX + 1];
	ssize_t len = recv(wait->fd, record, sizeof(record), MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0 || names_reply_take(record, (size_t)len, answers, count))
		wait->fd = -1;
}

static void hear_all(const struct resolver *resolvers, size_t running, struct names_answer *answers,
		     size_t count)
{
	uint64_t deadline = clock_ns() + (uint64_t)NAMES_TIME_S * 1000 * NS_PER_MS, now;
	struct pollfd waits[NAMES_PROCESSES];
	size_t open = running;

	for (size_t i = 0; i < running; i++)
		waits[i] = (struct pollfd){ .fd = resolvers[i].fd, .events = POLLIN };
	while (open && (now = clock_ns()) < deadline) {
		if (poll(waits, running, (int)((deadline - now) / NS_PER_MS) + 1) < 0)
			continue;
		open = 0;
		for (size_t i = 0; i < running; i++) {
			if (waits[i].fd >= 0 && waits[i].revents)
				hear(&waits[i], answers, count);
			open += waits[i].fd >= 0;
		}
	}
	/* Of those that have ended without a word about a name, it is not time that was missing. */
	for (size_t i = 0; i < count; i++)
		if (answers[i].failure == NAMES_NO_ANSWER && running &&
		    waits[i % running].fd < 0)
			answers[i].failure = NAMES_RESOLVER;
}

int names_resolve(const char *const *names, size_t count, struct names_answer **ret_answers)
{
	struct names_answer *answers = calloc(count ? count : 1, sizeof(*answers));
	struct question question = { names, count, count < NAMES_PROCESSES ? count : NAMES_PROCESSES };
	struct resolver resolvers[NAMES_PROCESSES];
	size_t running = 0;
	int err = 0;

	if (!answers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		answers[i].failure = NAMES_NO_ANSWER;
	while (!err && running < question.step) {
		err = start(&resolvers[running], &question, running);
		running += !err;
	}
	if (!err)
		hear_all(resolvers, running, answers, count);
	for (size_t i = 0; i < running; i++)
		end(&resolvers[i]);
	*ret_answers = answers;
	return err;
}

void names_answers_free(struct names_answer *answers, size_t count)
{
	for (size_t i = 0; answers && i < count; i++)
		free(answers[i].addresses.items);
	free(answers);
}
