// SPDX-License-Identifier: BSD-2-Clause
/*
 * The listener is two processes. The one that reads can see everything and takes a single octet
 * from the one that answers; that one takes what anybody sends and can do nothing but send back
 * the text.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sandbox.h"
#include "metrics.h"
#include "options.h"
#include "output.h"

#define BACKLOG 16
#define SYSTEMD_FD 3		/* the first one that systemd hands over (sd_listen_fds(3)) */
#define FRESH_NS 500000000ull	/* asked again within this time, the text is the same */

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
	(void)number;
	stop_requested = 1;
}

/* ---- the socket ---------------------------------------------------------------------------- */

/* "[ADDR:]PORT", an IPv6 address in brackets. */
static int parse_where(const char *where, struct addrinfo **ret_address)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM,
	};
	const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
	size_t len = colon ? (size_t)(colon - where) : 0;
	char host[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
	uint64_t number;

	if (!parse_uint(port, strlen(port), UINT16_MAX, &number) || !number || len >= sizeof(host))
		return -EINVAL;
	if (colon && len > 2 && where[0] == '[' && where[len - 1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)len - 2, where + 1);
	else if (colon && len && !memchr(where, ':', len))
		snprintf(host, sizeof(host), "%.*s", (int)len, where);
	else if (colon)
		return -EINVAL;
	return getaddrinfo(host, port, &hints, ret_address) ? -EINVAL : 0;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (address->ss_family == AF_UNIX)
		return true;
	if (address->ss_family == AF_INET) {
		memcpy(&v4, (const char *)address + offsetof(struct sockaddr_in, sin_addr),
		       sizeof(v4));
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	if (address->ss_family != AF_INET6)
		return false;
	memcpy(&v6, (const char *)address + offsetof(struct sockaddr_in6, sin6_addr), sizeof(v6));
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static int open_socket(const char *where, struct ipsecbpf_report *report)
{
	struct addrinfo *address;
	int err = parse_where(where, &address), fd, one = 1;

	if (err) {
		report_error(report, where, "--listen 9119, 127.0.0.2:9119 or [::1]:9119",
			     "not a port, nor a numeric address and a port");
		return err;
	}
	fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (address->ai_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, address->ai_addr, address->ai_addrlen))
		err = -errno;
	freeaddrinfo(address);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	report_error(report, where, err == -EADDRINUSE ? "give another port" : NULL,
		     "cannot listen there: %s", strerror(-err));
	return err;
}

/* The socket that systemd has opened for us: exactly one. */
static int inherited_socket(struct ipsecbpf_report *report)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	int flags = fcntl(SYSTEMD_FD, F_GETFL);

	if (!pid || !count || strtol(pid, NULL, 10) != getpid() || strcmp(count, "1") || flags < 0) {
		report_error(report, "systemd", "start the .socket unit, or give a port",
			     "exactly one socket is expected from systemd");
		return -EINVAL;
	}
	if (fcntl(SYSTEMD_FD, F_SETFL, flags | O_NONBLOCK) ||
	    fcntl(SYSTEMD_FD, F_SETFD, FD_CLOEXEC))
		return -errno;
	return SYSTEMD_FD;
}

static int check_socket(int fd, const struct metrics_listen_opts *opts,
			struct ipsecbpf_report *report)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (getsockname(fd, (struct sockaddr *)&address, &len) || listen(fd, BACKLOG)) {
		int err = -errno;

		report_error(report, opts->where, NULL, "cannot listen there: %s", strerror(-err));
		return err;
	}
	if (opts->remote || is_loopback(&address))
		return 0;
	report_error(report, opts->where, "give a loopback address, or add --remote",
		     "others could read them from there, without being asked who they are");
	return -EPERM;
}

/* ---- the process that reads ---------------------------------------------------------------- */

static void catch_signals(sigset_t *ret_waiting)
{
	const struct sigaction stop = { .sa_handler = on_signal };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t ends;

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	/* They come only while we wait: none is missed between a look and a wait. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, ret_waiting);
	sigdelset(ret_waiting, SIGINT);
	sigdelset(ret_waiting, SIGTERM);
}

/* 0, or -EINTR: it is time to end. */
static int wait_for(int fd, short events, const sigset_t *waiting)
{
	struct pollfd wanted = { .fd = fd, .events = events };

	while (!stop_requested) {
		if (ppoll(&wanted, 1, NULL, waiting) > 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

static int send_all(int fd, const void *data, size_t len, const sigset_t *waiting)
{
	const char *at = data;

	while (len) {
		ssize_t sent;
		int err = wait_for(fd, POLLOUT, waiting);

		if (err)
			return err;
		sent = send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN)
			return -errno;
		at += sent > 0 ? sent : 0;
		len -= sent > 0 ? (size_t)sent : 0;
	}
	return 0;
}

/* Nobody who may connect can make us read faster than this: the supervisors have other work. */
static void refresh(struct metrics *metrics, struct exposition *text, uint64_t *read_ns)
{
	uint64_t now = clock_ns();

	if (text->text && !text->failed && now - *read_ns < FRESH_NS)
		return;
	exposition_fini(text);
	metrics_gather(metrics, NULL);
	metrics_write(metrics, text);
	*read_ns = clock_ns();
}

/* 0 when it is time to end; -EPIPE: the other process has ended. */
static int serve_texts(struct metrics *metrics, int fd, const sigset_t *waiting)
{
	struct exposition text = { 0 };
	uint64_t read_ns = 0, len;
	char request;
	int err;

	for (;;) {
		err = wait_for(fd, POLLIN, waiting);
		if (err)
			break;
		if (read(fd, &request, sizeof(request)) != sizeof(request)) {
			err = -EPIPE;
			break;
		}
		refresh(metrics, &text, &read_ns);
		len = text.failed ? 0 : text.len;
		err = send_all(fd, &len, sizeof(len), waiting);
		if (!err)
			err = send_all(fd, text.text, len, waiting);
		if (err)
			break;
	}
	exposition_fini(&text);
	return err == -EINTR ? 0 : err;
}

/* Never returns. */
static void answer_requests(int socket, int reader)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	int keep[] = { socket, reader }, err;

	/* It ends when the reader does, whoever was signalled. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
	err = sandbox_close_others(keep, 2);
	if (!err)
		err = metrics_http(socket, reader);
	_exit(err ? EXIT_REFUSED : EXIT_DONE);
}

static int end_child(pid_t pid, int err, struct ipsecbpf_report *report)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!err)
		return 0;
	report_error(report, "ipsecbpf metrics", NULL,
		     WIFSIGNALED(status) ? "the process that answers was ended by signal %d" :
					   "the process that answers has ended with status %d",
		     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return err;
}

static int run_both(struct metrics *metrics, int socket, const char *where,
		    struct ipsecbpf_report *report)
{
	sigset_t waiting;
	int pair[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	catch_signals(&waiting);
	fflush(stdout);
	pid = fork();
	if (!pid)
		answer_requests(socket, pair[1]);
	close(pair[1]);
	close(socket);
	err = pid < 0 ? -errno : sandbox_reader();
	if (err) {
		report_error(report, "ipsecbpf metrics", NULL, "cannot give up privileges: %s",
			     strerror(-err));
		stop_requested = 1;
	} else {
		out_text("metrics are served at %s", where);
		out_record();
	}
	err = err ? err : serve_texts(metrics, pair[0], &waiting);
	close(pair[0]);
	return pid > 0 ? end_child(pid, report->errors ? 0 : err, report) ? err : err : err;
}

int metrics_listen(struct metrics *metrics, const struct metrics_listen_opts *opts,
		   struct ipsecbpf_report *report)
{
	int err, socket = strcmp(opts->where, "systemd") ? open_socket(opts->where, report) :
							   inherited_socket(report);

	if (socket < 0)
		return socket;
	err = check_socket(socket, opts, report);
	/* What may not be read must not look like nothing to read. */
	if (!err) {
		err = metrics_gather(metrics, NULL);
		err = err == -EPERM || err == -EACCES ? err : 0;
	}
	if (err) {
		close(socket);
		return err;
	}
	return run_both(metrics, socket, opts->where, report);
}
