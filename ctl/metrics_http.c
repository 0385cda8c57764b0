// SPDX-License-Identifier: BSD-2-Clause
/* GET /metrics, by libmicrohttpd, in a process that holds nothing. */
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/sandbox.h"
#include "metrics.h"

#define CONNECTIONS_MAX 16u
#define IDLE_SECONDS 10u
#define CONNECTION_MEMORY ((size_t)16 * 1024)	/* for the request and our headers */
#define TEXT_MAX (1ull << 30)

struct http {
	struct MHD_Daemon *daemon;
	int reader;
	bool reader_left;
};

static bool read_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t got = read(fd, at, len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		len -= (size_t)got;
	}
	return true;
}

/* malloc'd; NULL: there is nothing to tell now. */
static char *ask(struct http *http, size_t *ret_len)
{
	uint64_t len;
	char *text;

	if (write(http->reader, "?", 1) != 1 || !read_all(http->reader, &len, sizeof(len)) ||
	    len > TEXT_MAX) {
		http->reader_left = true;
		return NULL;
	}
	text = malloc(len + 1);
	if (!text || !read_all(http->reader, text, len)) {
		/* What is not read now would be taken for the next answer. */
		http->reader_left = true;
		free(text);
		return NULL;
	}
	*ret_len = len;
	if (len)
		return text;
	free(text);
	return NULL;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned int status,
				 struct MHD_Response *response, const char *type)
{
	enum MHD_Result result = MHD_NO;

	if (!response)
		return MHD_NO;
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
	    (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned int status,
			      const char *text)
{
	static char copy[64];

	snprintf(copy, sizeof(copy), "%s\n", text);
	return send_text(connection, status,
			 MHD_create_response_from_buffer(strlen(copy), copy, MHD_RESPMEM_MUST_COPY),
			 "text/plain; charset=utf-8");
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_len, void **request)
{
	static char headers_seen;
	struct http *http = context;
	size_t len;
	char *text;

	(void)version;
	(void)data;
	if (strcmp(url, "/metrics"))
		return refuse(connection, MHD_HTTP_NOT_FOUND, "There is only /metrics.");
	/* The library leaves the body of an answer to HEAD out. */
	if ((strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) ||
	    *data_len)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "There is only GET.");
	/* What is answered before the whole request has come ends the connection. */
	if (!*request) {
		*request = &headers_seen;
		return MHD_YES;
	}
	text = ask(http, &len);
	if (!text)
		return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "Out of memory.");
	return send_text(connection, MHD_HTTP_OK,
			 MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE),
			 EXPOSITION_CONTENT_TYPE);
}

static struct MHD_Daemon *start(struct http *http, int socket)
{
	return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, answer, http,
				MHD_OPTION_LISTEN_SOCKET, socket,
				MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
				MHD_OPTION_END);
}

static bool is_full(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info && info->num_connections >= CONNECTIONS_MAX;
}

/* Who waits for one of so many connections to go is let in by the run after that in which it goes, for
 * which nothing wakes us. */
static bool run(struct MHD_Daemon *daemon)
{
	bool full = is_full(daemon);

	return MHD_run(daemon) == MHD_YES &&
	       (!full || is_full(daemon) || MHD_run(daemon) == MHD_YES);
}

/* Until the reader leaves: nothing but its end comes unasked. */
static int serve(struct http *http)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon,
							       MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd fds[] = {
		{ .fd = info ? info->epoll_fd : -1, .events = POLLIN },
		{ .fd = http->reader, .events = POLLIN },
	};

	while (!http->reader_left) {
		MHD_UNSIGNED_LONG_LONG timeout;
		int wait = -1;

		if (MHD_get_timeout(http->daemon, &timeout) == MHD_YES)
			wait = (int)(timeout < IDLE_SECONDS * 1000 ? timeout : IDLE_SECONDS * 1000);
		if (poll(fds, 2, wait) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return 0;
		if (!run(http->daemon))
			return -EIO;
	}
	return 0;
}

int metrics_http(int socket, int reader)
{
	struct http http = { .reader = reader };
	int err;

	http.daemon = start(&http, socket);
	if (!http.daemon)
		return -EIO;
	tzset();	/* for the header Date: later it may not read the file */
	err = sandbox_listener();
	if (!err)
		err = serve(&http);
	MHD_stop_daemon(http.daemon);
	return err;
}
