// SPDX-License-Identifier: BSD-2-Clause
/* The sockets of a network namespace, and whose they are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_live.h"
#include "app_scan.h"

struct gathering {
	const struct app_live *live;
	struct app_socket_info *items;
	size_t count, room;
	struct app_facts *facts;	/* of last_pid */
	struct app_identity last;
	pid_t last_pid;
};

/* What the process is now. Its program is shown in any case. */
static int identify(struct gathering *gathering, const struct app_scan_socket *found)
{
	const __u64 *words = gathering->live->pins.attachment.digest_seed;
	const uint64_t seed[2] = { words[0], words[1] };
	int err;

	if (found->pid == gathering->last_pid)
		return 0;
	err = app_identity_pid(&gathering->last, found->pid, seed, gathering->facts);
	if (!err && !app_scan_is_there(found))
		err = -ESRCH;
	gathering->last_pid = err ? 0 : found->pid;
	return err;
}

static int grow(struct gathering *gathering)
{
	size_t room = gathering->room ? gathering->room * 2 : 64;
	struct app_socket_info *items = realloc(gathering->items, room * sizeof(*items));

	if (!items)
		return -ENOMEM;
	gathering->items = items;
	gathering->room = room;
	return 0;
}

static int gather(void *context, const struct app_scan_socket *found)
{
	struct gathering *gathering = context;
	struct app_socket_info *info;
	const char *name;
	int err = identify(gathering, found);

	if (err == -ESRCH)
		return 0;
	if (!err && gathering->count == gathering->room)
		err = grow(gathering);
	if (err)
		return err;
	info = &gathering->items[gathering->count++];
	*info = (struct app_socket_info){
		.pid = found->pid, .proto = found->proto, .listening = found->listening,
		.noted = found->known,
	};
	name = strrchr(gathering->facts->exe, '/');
	snprintf(info->program, sizeof(info->program), "%s", name ? name + 1 : "");
	socket_local(found->fd, &info->local);
	info->connected = socket_remote(found->fd, &info->remote);
	info->app = app_resolve(gathering->live->cells,
				found->known ? &found->socket.who : &gathering->last);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct app_socket_info *x = a, *y = b;

	if (x->app != y->app)	/* those of the host last */
		return x->app - 1 < y->app - 1 ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return memcmp(&x->local, &y->local, sizeof(x->local));
}

int app_live_sockets(const struct app_live *live, pid_t pid, struct app_socket_info **ret_items,
		     size_t *ret_count, struct ipsecbpf_report *report)
{
	struct gathering gathering = { .live = live };
	int err;

	gathering.facts = calloc(1, sizeof(*gathering.facts));
	if (!gathering.facts)
		return -ENOMEM;
	err = pid ? app_scan_process(&live->pins, pid, gather, &gathering) :
		    app_scan(&live->pins, gather, &gathering);
	free(gathering.facts);
	if (err) {
		report_error(report, live->pins.ifname, err == -EPERM ? "run it as root" : NULL,
			     "cannot look at sockets: %s", strerror(-err));
		free(gathering.items);
		return err;
	}
	if (gathering.count)
		qsort(gathering.items, gathering.count, sizeof(*gathering.items), compare);
	*ret_items = gathering.items;
	*ret_count = gathering.count;
	return 0;
}
