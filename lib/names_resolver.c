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

static bool is_reply(const struct names_reply *reply, size_t len, size_t index)
{
	return reply->magic == NAMES_REPLY_MAGIC && reply->index == index &&
	       reply->failure < NAMES_FAILURE_COUNT && reply->failure != NAMES_NO_ANSWER &&
	       reply->secure <= 1 && reply->count <= NAMES_ADDRESSES_MAX &&
	       (reply->failure == NAMES_NONE) == (reply->count > 0) &&
	       len == sizeof(*reply) + reply->count * sizeof(struct names_reply_address);
}

int names_reply_take(const void *record, size_t len, size_t index, struct names_answer *answer)
{
	struct address_list list = { 0 };
	struct names_reply reply;
	bool fit = true;

	if (len < sizeof(reply))
		return -EPROTO;
	memcpy(&reply, record, sizeof(reply));
	if (!is_reply(&reply, len, index) || answer->failure != NAMES_NO_ANSWER)
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

/* One process asks for one name, so that no server has a say in what another name stands for, nor for
 * how long others wait. */
struct resolver {
	pid_t pid;	/* 0: none */
	int fd;
	size_t index;	/* of its name */
	uint64_t deadline;
};

struct question {
	const char *const *names;
	size_t count, next;	/* next: the first that nobody has been asked for */
	uint64_t deadline;
	struct names_answer *answers;
	struct resolver resolvers[NAMES_PROCESSES];
};

static int start(struct question *question, struct resolver *resolver)
{
	int pair[2], keep[1], parent = (int)getpid();
	uint64_t deadline = clock_ns() + (uint64_t)NAMES_ONE_S * 1000 * NS_PER_MS;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	resolver->pid = fork();
	if (!resolver->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep[0] = pair[1];
		if (getppid() != parent || sandbox_close_others(keep, 1))
			_exit(1);
		names_child(question->names[question->next], question->next, pair[1]);
	}
	close(pair[1]);
	if (resolver->pid < 0) {
		close(pair[0]);
		resolver->pid = 0;
		return -EAGAIN;
	}
	resolver->fd = pair[0];
	resolver->index = question->next++;
	resolver->deadline = deadline < question->deadline ? deadline : question->deadline;
	return 0;
}

static void end(struct resolver *resolver)
{
	close(resolver->fd);
	kill(resolver->pid, SIGKILL);
	while (waitpid(resolver->pid, NULL, 0) < 0 && errno == EINTR)
		;
	resolver->pid = 0;
}

/* Its one record is about its own name, or nothing. */
static void hear(const struct resolver *resolver, struct names_answer *answers)
{
	struct names_answer *answer = &answers[resolver->index];
	char record[NAMES_REPLY_MAX + 1];
	ssize_t len = recv(resolver->fd, record, sizeof(record), MSG_DONTWAIT);

	if (len <= 0 || names_reply_take(record, (size_t)len, resolver->index, answer))
		answer->failure = NAMES_RESOLVER;
}

/* Waits until one has something to say, or has had its time. */
static void hear_any(struct question *question)
{
	struct pollfd waits[NAMES_PROCESSES];
	uint64_t now = clock_ns(), until = question->deadline;

	for (size_t i = 0; i < NAMES_PROCESSES; i++) {
		const struct resolver *resolver = &question->resolvers[i];

		waits[i] = (struct pollfd){ .fd = resolver->pid ? resolver->fd : -1,
					    .events = POLLIN };
		if (resolver->pid && resolver->deadline < until)
			until = resolver->deadline;
	}
	if (poll(waits, NAMES_PROCESSES,
		 until > now ? (int)((until - now) / NS_PER_MS) + 1 : 0) < 0)
		return;
	now = clock_ns();
	for (size_t i = 0; i < NAMES_PROCESSES; i++) {
		struct resolver *resolver = &question->resolvers[i];

		if (!resolver->pid || (!waits[i].revents && now < resolver->deadline))
			continue;
		if (waits[i].revents)
			hear(resolver, question->answers);
		end(resolver);
	}
}

/* Each that is free gets the next name. */
static int start_free(struct question *question, bool *ret_running)
{
	bool in_time = clock_ns() < question->deadline;
	int err = 0;

	*ret_running = false;
	for (size_t i = 0; i < NAMES_PROCESSES; i++) {
		struct resolver *resolver = &question->resolvers[i];

		if (!err && !resolver->pid && in_time && question->next < question->count)
			err = start(question, resolver);
		*ret_running |= resolver->pid != 0;
	}
	return err;
}

int names_resolve(const char *const *names, size_t count, struct names_answer **ret_answers)
{
	struct names_answer *answers = calloc(count ? count : 1, sizeof(*answers));
	struct question question = { .names = names, .count = count, .answers = answers };
	bool running = true;
	int err = 0;

	if (!answers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		answers[i].failure = NAMES_NO_ANSWER;
	question.deadline = clock_ns() + (uint64_t)NAMES_TIME_S * 1000 * NS_PER_MS;
	while (running) {
		int one = start_free(&question, &running);

		if (one && !running)
			err = one;
		if (running)
			hear_any(&question);
	}
	for (size_t i = 0; i < count; i++)
		answers[i].asked = i < question.next;
	*ret_answers = answers;
	return err;
}

void names_answers_free(struct names_answer *answers, size_t count)
{
	for (size_t i = 0; answers && i < count; i++)
		free(answers[i].addresses.items);
	free(answers);
}
