// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "app_loops.h"

#define BATCH	64	/* datagrams between two looks at the clock, which takes as long as a part of one */
#define BACKLOG 16

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int failed(const char *what, const char *of)
{
	int err = -errno;

	fprintf(stderr, "app_loops: %s %s: %s\n", what, of, strerror(-err));
	return err;
}

/* ---- arms -------------------------------------------------------------------------------------- */

/* A socket at any port of the address. The descriptor or -errno. */
static int bound_socket(int type, struct in_addr address, struct sockaddr_in *ret_address)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = address };
	socklen_t size = sizeof(name);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed("socket", "");
	if (bind(fd, (struct sockaddr *)&name, size) ||
	    getsockname(fd, (struct sockaddr *)ret_address, &size)) {
		int err = failed("bind", inet_ntoa(address));

		close(fd);
		return err;
	}
	return fd;
}

static int sink_open(struct sink *sink, struct in_addr address)
{
	sink->listener = bound_socket(SOCK_STREAM, address, &sink->stream_address);
	if (sink->listener < 0)
		return sink->listener;
	sink->datagrams = bound_socket(SOCK_DGRAM, address, &sink->datagram_address);
	if (sink->datagrams < 0)
		return sink->datagrams;
	return listen(sink->listener, BACKLOG) ? failed("listen", "") : 0;
}

static int enter_netns(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return failed("network namespace", path);
	*ret_fd = fd;
	return 0;
}

int arm_open(struct arm *arm, const char *netns, const char *peer_netns, const char *cgroup,
	     struct in_addr peer)
{
	struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
	char procs[512];
	int fd = -1, err;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	arm->procs = open(procs, O_WRONLY | O_CLOEXEC);
	if (arm->procs < 0)
		return failed("cgroup", procs);
	err = enter_netns(netns, &arm->netns);
	err = err ?: sink_open(&arm->sinks[WAY_LOOPBACK], loopback);
	err = err ?: enter_netns(peer_netns, &fd);
	if (err)
		return err;
	close(fd);
	return sink_open(&arm->sinks[WAY_WIRE], peer);
}

int arm_enter(const struct arm *arm)
{
	if (setns(arm->netns, CLONE_NEWNET))
		return failed("setns", arm->name);
	if (write(arm->procs, "0", 1) != 1)
		return failed("cgroup.procs", arm->name);
	return 0;
}

/* ---- loops ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned int count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* The other side of a connection that is gone. */
static int drop_accepted(const struct sink *sink)
{
	int fd = accept4(sink->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return failed("accept", "");
	close(fd);
	return 0;
}

/* One connection; times[0..3]: before socket(), connect() and close(), and after it. */
static int connect_once(const struct sink *sink, double times[4])
{
	const struct sockaddr_in *to = &sink->stream_address;
	int fd, err;

	times[0] = now_ns();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed("socket", "");
	times[1] = now_ns();
	err = connect(fd, (const struct sockaddr *)to, sizeof(*to));
	if (err)
		err = failed("connect", inet_ntoa(to->sin_addr));
	times[2] = now_ns();
	close(fd);
	times[3] = now_ns();
	return err ?: drop_accepted(sink);
}

static int connections(const struct sink *sink, unsigned int count, double *values,
		       struct timing *timing)
{
	double *life = values, *create = life + count, *connected = create + count,
	       *closed = connected + count, times[4] = {};

	for (unsigned int i = 0; i < count; i++) {
		int err = connect_once(sink, times);

		if (err)
			return err;
		life[i] = times[3] - times[0];
		create[i] = times[1] - times[0];
		connected[i] = times[2] - times[1];
		closed[i] = times[3] - times[2];
	}
	timing->life = median(life, count);
	timing->create = median(create, count);
	timing->connect = median(connected, count);
	timing->close = median(closed, count);
	return 0;
}

static void drain(int fd)
{
	char octet;

	while (recv(fd, &octet, sizeof(octet), MSG_DONTWAIT) >= 0)
		;
}

/* One socket, never connected; BATCH datagrams at a time. */
static int datagrams(const struct sink *sink, unsigned int batches, double *values,
		     struct timing *timing)
{
	const struct sockaddr_in *to = &sink->datagram_address;
	int err = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed("socket", "");
	for (unsigned int i = 0; !err && i < batches; i++) {
		double start = now_ns();

		for (unsigned int j = 0; !err && j < BATCH; j++)
			if (sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)) != 1)
				err = failed("sendto", inet_ntoa(to->sin_addr));
		values[i] = (now_ns() - start) / BATCH;
		drain(sink->datagrams);
	}
	if (!err)
		timing->sendto = median(values, batches);
	close(fd);
	return err;
}

int arm_measure(const struct arm *arm, enum way way, unsigned int connection_count,
		unsigned int datagram_count, struct timing *ret_timing)
{
	unsigned int batches = (datagram_count + BATCH - 1) / BATCH;
	double *values = calloc((size_t)connection_count * 4 + batches, sizeof(*values));
	struct timing timing = {};
	int err;

	if (!values)
		return -ENOMEM;
	err = connections(&arm->sinks[way], connection_count, values, &timing);
	err = err ?: datagrams(&arm->sinks[way], batches, values, &timing);
	free(values);
	if (!err)
		*ret_timing = timing;
	return err;
}
