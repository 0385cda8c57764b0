// SPDX-License-Identifier: BSD-2-Clause
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address_of(const struct paths *paths)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, paths->socket, strlen(paths->socket) + 1);
	return address;
}

static int set_timeouts(int fd)
{
	const struct timeval limit = { .tv_sec = CONTROL_TIMEOUT_S };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		return -errno;
	return 0;
}

static int send_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return sent ? -errno : -EPIPE;
		at += sent;
		len -= (size_t)sent;
	}
	return 0;
}

static int receive_all(int fd, void *data, size_t len)
{
	uint8_t *at = data;

	while (len) {
		ssize_t got = recv(fd, at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ECONNRESET;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

int control_receive(int fd, struct control_header *ret_header, void **ret_payload)
{
	struct control_header header;
	void *payload = NULL;
	int err;

	err = set_timeouts(fd);
	if (!err)
		err = receive_all(fd, &header, sizeof(header));
	if (err)
		return err;
	if (header.magic != CONTROL_MAGIC || header.len > CONTROL_PAYLOAD_MAX)
		return -EPROTO;
	if (header.len) {
		payload = malloc(header.len);
		if (!payload)
			return -ENOMEM;
		err = receive_all(fd, payload, header.len);
	}
	if (err) {
		explicit_bzero(payload, header.len);
		free(payload);
		return err;
	}
	*ret_header = header;
	*ret_payload = payload;
	return 0;
}

static int send_message(int fd, const struct control_header *header, const void *payload)
{
	int err = send_all(fd, header, sizeof(*header));

	return err || !header->len ? err : send_all(fd, payload, header->len);
}

/* ---- reports on the wire ------------------------------------------------------------------- */

static char *pack_string(char *at, const char *text)
{
	size_t len = strlen(text ? text : "") + 1;

	memcpy(at, text ? text : "", len);
	return at + len;
}

static size_t packed_size(const struct report_item *item)
{
	return 1 + strlen(item->object) + strlen(item->cause) +
	       strlen(item->next ? item->next : "") + 3;
}

static char *pack_report(const struct ipsecbpf_report *report, uint32_t *ret_len)
{
	size_t len = 0;
	char *at, *packed;

	for (size_t i = 0; i < report->count; i++)
		len += packed_size(&report->items[i]);
	packed = malloc(len ? len : 1);
	if (!packed)
		return NULL;
	at = packed;
	for (size_t i = 0; i < report->count; i++) {
		const struct report_item *item = &report->items[i];

		*at++ = (char)item->level;
		at = pack_string(at, item->object);
		at = pack_string(at, item->cause);
		at = pack_string(at, item->next);
	}
	*ret_len = (uint32_t)len;
	return packed;
}

/* The next NUL-terminated string of a buffer, or NULL if it does not end inside. */
static const char *take_string(const char **at, const char *end)
{
	const char *text = *at, *nul = memchr(text, '\0', (size_t)(end - text));

	if (!nul)
		return NULL;
	*at = nul + 1;
	return text;
}

static void unpack_report(const char *packed, uint32_t len, struct ipsecbpf_report *report)
{
	const char *at = packed, *end = packed + len;

	while (at < end) {
		int level = *at++;
		const char *object = take_string(&at, end);
		const char *cause = object ? take_string(&at, end) : NULL;
		const char *next = cause ? take_string(&at, end) : NULL;

		if (!next || level < REPORT_ERROR || level > REPORT_NOTE)
			return;
		report_add(report, (enum report_level)level, object, *next ? next : NULL, "%s",
			   cause);
	}
}

int control_reply(int fd, enum control_type type, int err, const void *payload, uint32_t len,
		  const struct ipsecbpf_report *report)
{
	struct control_header header = { .magic = CONTROL_MAGIC, .type = type, .err = err };
	char *packed = NULL;

	if (err) {
		packed = pack_report(report, &header.len);
		if (!packed)
			return -ENOMEM;
	} else {
		header.len = len;
	}
	err = send_message(fd, &header, err ? packed : payload);
	free(packed);
	return err;
}

/* ---- both ends of the socket --------------------------------------------------------------- */

static int connect_to(const struct paths *paths)
{
	struct sockaddr_un address = address_of(paths);
	int err, fd;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = set_timeouts(fd);
	if (!err && connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		err = errno == ENOENT ? -ECONNREFUSED : -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int control_listen(const struct paths *paths)
{
	struct sockaddr_un address = address_of(paths);
	int err = 0, fd;

	fd = connect_to(paths);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	unlink(paths->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* RUN_ROOT is 0700: nobody can connect between bind and chmod. */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    chmod(paths->socket, 0600) || listen(fd, 8))
		err = -errno;
	if (err) {
		close(fd);
		unlink(paths->socket);
		return err;
	}
	return fd;
}

static int exchange(int fd, const struct control_header *request, const void *payload,
		    struct control_header *reply, void **ret_reply)
{
	int err = send_message(fd, request, payload);

	return err ? err : control_receive(fd, reply, ret_reply);
}

int control_ask(const struct paths *paths, struct control_call *call,
		struct ipsecbpf_report *report)
{
	struct control_header request = {
		.magic = CONTROL_MAGIC,
		.type = call->type,
		.flags = call->flags,
		.len = call->len,
	};
	struct control_header reply = { 0 };
	void *answer = NULL;
	int err, fd;

	fd = connect_to(paths);
	err = fd < 0 ? fd : exchange(fd, &request, call->payload, &reply, &answer);
	if (fd >= 0)
		close(fd);
	if (err == -ECONNREFUSED)
		report_error(report, paths->dir,
			     "ipsecbpf attach it again; until then protected traffic is dropped",
			     "no supervisor is running");
	else if (err)
		report_error(report, paths->socket, "ipsecbpf status shows what is running",
			     "the supervisor did not answer: %s", strerror(-err));
	if (err)
		return err;
	if (reply.err) {
		unpack_report(answer, reply.len, report);
		free(answer);
		return reply.err;
	}
	call->reply = answer;
	call->reply_len = reply.len;
	return 0;
}

int control_order(const struct paths *paths, enum control_type type, struct ipsecbpf_report *report)
{
	struct control_call call = { .type = type };
	int err = control_ask(paths, &call, report);

	free(call.reply);
	return err;
}
